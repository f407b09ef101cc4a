"""What files of generated images say of themselves: that they are synthetic, of which run, and from which seed.

It is metadata: true for whoever asks, gone for whoever removes it (docs/provenance.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import quoteattr

from PIL.PngImagePlugin import PngInfo

import gandist

TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""Where IPTC's Digital Source Type NewsCodes are defined."""
GENERATED, MIXED = f"{TERMS}trainedAlgorithmicMedia", f"{TERMS}compositeWithTrainedAlgorithmicMedia"
XMP_KEYWORD = "XML:com.adobe.xmp"
"""The keyword of a PNG's text chunk that holds an XMP packet (XMP specification part 3, section 1.1.5)."""

_NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "gandist": "urn:gandist:provenance:",
}


@dataclass(frozen=True)
class Provenance:
    """Where a picture comes from.

    run: the id that its checkpoints keep, None where none is known. name: of the run. seed: of the latents, None where
    there is no one seed. mixed: whether real images stand beside generated ones. more: further entries, e.g. label.
    """

    run: str | None
    name: str
    step: int
    seed: int | None = None
    mixed: bool = False
    more: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def term(self) -> str:
        """IPTC's term for such a picture."""
        return MIXED if self.mixed else GENERATED

    @property
    def software(self) -> str:
        """Program and version."""
        return f"gandist {gandist.__version__}"

    @property
    def description(self) -> str:
        """For people."""
        return f"{'Partly synthetic' if self.mixed else 'Synthetic'}: made by a generative adversarial network"

    def entries(self) -> dict[str, str]:
        """What is known of it by name, as text; the same picture has the same entries, hence no time."""
        known = {"run": self.run, "name": self.name, "step": self.step, "seed": self.seed, **self.more}
        return {name: _plain(value) for name, value in known.items() if value is not None}


def _plain(value: object) -> str:
    """As text without control characters, which XML has no place for."""
    return "".join(character if character.isprintable() else "?" for character in str(value))


def xmp(about: Provenance) -> bytes:
    """The XMP packet: `Iptc4xmpExt:DigitalSourceType`, `xmp:CreatorTool`, and the entries as `gandist:…`."""
    spaces = "".join(f" xmlns:{prefix}={quoteattr(uri)}" for prefix, uri in _NAMESPACES.items())
    properties = {
        "Iptc4xmpExt:DigitalSourceType": about.term,
        "xmp:CreatorTool": about.software,
        **{f"gandist:{name}": value for name, value in about.entries().items()},
    }
    written = "".join(f"\n   {name}={quoteattr(value)}" for name, value in properties.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        f' <rdf:RDF{spaces}>\n  <rdf:Description rdf:about=""{written}/>\n </rdf:RDF>\n'
        '</x:xmpmeta>\n<?xpacket end="r"?>'
    ).encode()


def metadata(about: Provenance | None, form: str) -> dict[str, Any]:
    """What Pillow's `save` is given so that a file of this format says it; {} for None.

    PNG: text chunks `Description`, `Software`, `DigitalSourceType`, `gandist:…`, and the XMP packet. GIF: a comment.
    WEBP and JPEG: the packet.
    """
    if about is None:
        return {}
    texts = {
        "Description": about.description,
        "Software": about.software,
        "DigitalSourceType": about.term,
        **{f"gandist:{name}": value for name, value in about.entries().items()},
    }
    if form == "PNG":
        chunks = PngInfo()
        for name, text in texts.items():
            chunks.add_text(name, text)
        chunks.add_itxt(XMP_KEYWORD, xmp(about).decode())
        return {"pnginfo": chunks}
    if form == "GIF":
        return {"comment": "\n".join(f"{name}: {text}" for name, text in texts.items()).encode()}
    return {"xmp": xmp(about)}
