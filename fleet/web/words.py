"""The words of the public pages, and numbers as each language writes them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Language = Literal["en", "fr"]
LANGUAGES: tuple[Language, ...] = ("en", "fr")
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
    "records": ("Records in repositories", "Notices dans des dépôts"),
    "record": ("Record", "Notice"),
    "cite": ("Cite", "Citer"),
    "cite_whole": ("All versions", "Toutes les versions"),
    "versions": ("Versions", "Versions"),
    "licence": ("Licence", "Licence"),
    "papers": (
        "the data are too large for it: it leads to them",
        "les données y sont trop volumineuses : elle y mène",
    ),
    "wanted": ("to be begun", "à commencer"),
    "filling": ("being filled", "en cours de dépôt"),
    "closing": ("being published", "en cours de publication"),
    "held_back": ("waits for a person", "attend une personne"),
    "download": ("Download from", "Télécharger depuis"),
    "kind": ("Kind", "Type"),
    "held": ("Held", "Conservé"),
    "health": ("Health", "État de santé"),
    "none_yet": ("Nothing is mirrored yet.", "Rien n’est encore répliqué."),
    "catalogue": ("The catalogue of all versions", "Le catalogue de toutes les versions"),
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
    "mirrors": ("Mirrors", "Miroirs"),
    "mirrors_used": (
        "Where those who ask from here are sent, best first",
        "Où l’on est envoyé d’ici, le meilleur d’abord",
    ),
    "mirrors_unused": ("Copies that nobody is sent to now", "Copies où personne n’est envoyé"),
    "stale": (
        "The database is away; this is what was known",
        "La base de données est absente; voici ce que l’on savait",
    ),
    "refusal": ("Not here", "Introuvable ici"),
    "no_dataset": (
        "There is no dataset called “{name}”.",
        "Il n’y a aucun jeu de données nommé « {name} ».",
    ),
    "no_version": (
        "The dataset {dataset} has no published version “{name}”.",
        "Le jeu de données {dataset} n’a aucune version publiée « {name} ».",
    ),
    "no_file": (
        "Version {version} of {dataset} has no file “{name}”.",
        "La version {version} de {dataset} n’a aucun fichier « {name} ».",
    ),
    "no_name": (
        "No dataset’s latest version has a file called “{name}”.",
        "Aucune dernière version d’un jeu de données n’a de fichier nommé « {name} ».",
    ),
    "version_withdrawn": (
        "Version {version} of {dataset} was withdrawn.",
        "La version {version} de {dataset} a été retirée.",
    ),
    "no_mirror": (
        "No mirror holds a verified copy of {name} that can be read now. Try again later.",
        "Aucun miroir n’a de copie vérifiée de {name} lisible en ce moment. Réessayez plus tard.",
    ),
    "no_torrent": ("There is no torrent of {name}.", "Il n’y a pas de torrent de {name}."),
    "not_read_yet": (
        "The server has just started and does not know yet what there is. Try again shortly.",
        "Le serveur vient de démarrer et ne sait pas encore ce qu’il y a. Réessayez sous peu.",
    ),
    "store_away": (
        "The database is away, without which this cannot be made. Try again later.",
        "La base de données est absente, et ceci en a besoin. Réessayez plus tard.",
    ),
    "only_read": (
        "Files are only read here: ask with GET or HEAD.",
        "On ne fait que lire des fichiers ici : demandez par GET ou HEAD.",
    ),
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


def preferred(accept_language: str) -> Language:
    """Return the language of ours that a request asks for first."""
    asked = [part.split(";")[0].strip()[:2].lower() for part in accept_language.split(",")]
    return next((ours for one in asked for ours in LANGUAGES if ours == one), "en")


def words_of(language: Language) -> Words:
    """Return the texts of ``language``."""
    return Words(language)
