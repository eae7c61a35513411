"""The small pieces of GEXF: attributes as they are declared, and as elements carry them."""

from __future__ import annotations

from collections.abc import Collection

from .text import escape_attribute


def declared(owner: str, mode: str, types: dict[str, str]) -> bytes:
    """Declare attributes of nodes or of edges."""
    lines = b"".join(
        b'<attribute id="%b" title="%b" type="%b"/>\n' % (escape_attribute(name), escape_attribute(name), kind.encode())
        for name, kind in types.items()
    )
    return b'<attributes class="%b" mode="%b">\n%b</attributes>\n' % (owner.encode(), mode.encode(), lines)


def flat_name(name: str, step: int) -> str:
    """Name the attribute that holds what another one is at a step."""
    return f"{name}_{step}"


def timed_opening(name: str, step: int, flat: bool) -> bytes:
    """Open a value that is of one step."""
    return opening(flat_name(name, step) if flat else name)


def timed_closing(step: int, flat: bool) -> bytes:
    """Close a value that is of one step."""
    return b'"/>' if flat else b'" timestamp="%b"/>' % repr(float(step)).encode()


def opening(name: str) -> bytes:
    """Open the value of an attribute."""
    return b'<attvalue for="%b" value="' % escape_attribute(name)


def attvalue(name: str, value: str) -> bytes:
    """Write an attribute."""
    return b'%b%b"/>' % (opening(name), escape_attribute(value))


def colour(rgb: Collection[int]) -> bytes:
    """Write a colour."""
    return b'<viz:color r="%d" g="%d" b="%d"/>' % tuple(rgb)
