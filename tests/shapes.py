"""How the tests check the types and shapes in the package's signatures."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an integer is a float, too
