"""The IPTC mark of generated media, as an XMP packet: any reader finds it, and anybody can remove it."""

_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
COMPOSITE = _TERMS + "compositeWithTrainedAlgorithmicMedia"  # a trained model made it from another picture
GENERATED = _TERMS + "trainedAlgorithmicMedia"  # a trained model made it from nothing

GENERATED_XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{COMPOSITE}"/></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>""".encode()


def is_marked(data: bytes) -> bool:
    """Whether a file says anywhere in plain text that a trained model made it, or had a part in it."""
    return COMPOSITE.encode() in data or GENERATED.encode() in data
