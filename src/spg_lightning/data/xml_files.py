"""Parse XML that others wrote: without a document type, as the entities it declares can grow without bounds."""

from xml.etree import ElementTree
from xml.parsers import expat


def parse_xml(data: bytes) -> ElementTree.Element:
    """Return the root element.

    Raises:
        ValueError: not XML, or with a document type.
    """

    def refuse(*_: object) -> None:
        raise ValueError("it declares entities")

    # expat reads the encodings that ElementTree reads; a search of the bytes would miss some
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
        return ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError, LookupError) as error:
        raise ValueError(str(error)) from None
