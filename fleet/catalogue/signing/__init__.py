"""The catalogue's signatures, in the manner of TUF and by its reference implementation.

``publishing`` turns files into the repository folder that mirrors copy, ``rotation`` makes and
replaces keys.  Why it is so stands in ``docs/adr/0013``.
"""
