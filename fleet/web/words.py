"""The words of the public pages, and numbers as each language writes them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Language = Literal["en", "fr"]
LANGUAGES = ("en", "fr")
_NARROW_SPACE = "\u202f"

_TEXTS: dict[str, tuple[str, str]] = {
    "about": (
        "Open data, copied to independent places and verified byte for byte.",
        "Des données ouvertes, copiées en des lieux indépendants et vérifiées octet par octet.",
    ),
    "datasets": ("Datasets", "Jeux de données"),
    "dataset": ("Dataset", "Jeu de données"),
    "sites": ("Sites", "Sites"),
    "site": ("Site", "Site"),
    "version": ("Version", "Version"),
    "state": ("State", "État"),
    "files": ("Files", "Fichiers"),
    "file": ("File", "Fichier"),
    "size": ("Size", "Taille"),
    "copies": ("Verified copies", "Copies vérifiées"),
    "where": ("Where it is", "Où il se trouve"),
    "country": ("Country", "Pays"),
    "provider": ("Provider", "Fournisseur"),
    "verified": ("Last verified", "Dernière vérification"),
    "why": ("Why", "Pourquoi"),
    "served": ("The latest version, under names that stay", "La dernière version, à noms fixes"),
    "served_how": (
        "A manifest names the whole set of one version; the names below processed/ follow it.",
        "Un manifeste nomme l’ensemble d’une seule version ; les noms sous processed/ le suivent.",
    ),
    "since": ("Since", "Depuis"),
    "torrents": ("Torrents", "Torrents"),
    "whole": ("Complete copies, at least", "Copies complètes, au moins"),
    "peers": ("Peers: complete / connected", "Pairs : complets / connectés"),
    "uploaded": ("Sent", "Envoyé"),
    "uploads": ("Uploads", "Envois"),
    "unlimited": ("no limit", "sans limite"),
    "no_uploads": ("none now", "aucun pour l’instant"),
    "unknown": ("not known", "inconnu"),
    "colon": (":", " :"),
    "floor": (
        "As the fleet’s seeders last counted: there may be more copies and peers than they see.",
        "Selon le dernier compte de nos serveurs : il peut exister plus de copies et de pairs.",
    ),
    "alias": ("also seeded as", "aussi partagé comme"),
    "unchecked": ("not checked yet", "pas encore vérifié"),
    "refused": ("other bytes, not seeded", "autres octets, non partagé"),
    "download": ("Download from", "Télécharger depuis"),
    "kind": ("Kind", "Type"),
    "held": ("Held", "Conservé"),
    "health": ("Health", "État de santé"),
    "none_yet": ("Nothing is mirrored yet.", "Rien n’est encore répliqué."),
    "no_fault": ("no known fault", "aucune panne connue"),
    "first_files": ("The first files; see also", "Les premiers fichiers; voir aussi"),
    "newer": (
        "A newer version is being brought in",
        "Une version plus récente est en cours d’arrivée",
    ),
    "missing": ("files could not be had", "fichiers n’ont pu être obtenus"),
    "never": ("not yet", "pas encore"),
    "skip": ("Skip to the content", "Aller au contenu"),
    "draft": ("being brought in", "en cours d’arrivée"),
    "published": ("published", "publié"),
    "superseded": ("superseded", "remplacé"),
    "withdrawn": ("withdrawn", "retiré"),
    "known": ("verified", "vérifié"),
    "expected": ("on its way", "en route"),
    "excluded": ("not to be had", "introuvable"),
}


@dataclass(frozen=True)
class Words:
    """The texts of one language; templates write ``words.files``."""

    language: Language

    def __getattr__(self, name: str) -> str:
        """Return the text called ``name``."""
        return self[name]

    def __getitem__(self, name: str) -> str:
        """Return the text called ``name``."""
        return _TEXTS[name][LANGUAGES.index(self.language)]

    def number(self, value: int) -> str:
        """Write a whole number with its thousands apart."""
        return f"{value:,}".replace(",", _NARROW_SPACE) if self.language == "fr" else f"{value:,}"

    def bytes(self, value: int | None) -> str:
        """Write a size in the language's units, with its decimal mark."""
        if value is None:
            return "?"
        units = (
            ("o", "ko", "Mo", "Go", "To")
            if self.language == "fr"
            else (
                "B",
                "kB",
                "MB",
                "GB",
                "TB",
            )
        )
        size, unit = float(value), 0
        while size >= 1000 and unit < len(units) - 1:
            size, unit = size / 1000, unit + 1
        text = f"{size:.0f}" if unit == 0 else f"{size:.1f}"
        if self.language == "fr":
            text = text.replace(".", ",")
        return f"{text}\u00a0{units[unit]}"

    def moment(self, value: datetime | None) -> str:
        """Write a moment, with its zone."""
        if value is None:
            return self["never"]
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def words_of(language: Language) -> Words:
    """Return the texts of ``language``."""
    return Words(language)
