"""The checker of annotations: beartype, which takes an int where a float is wanted, as type checkers do."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
