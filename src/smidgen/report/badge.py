"""Badges with the run's figures, as local SVG files that need no server."""

from __future__ import annotations

from html import escape

HEIGHT, PADDING = 20, 6
LETTER = 6.6  # mean width of a letter at 11 pixels; `textLength` makes every font keep to it


def badge(label: str, value: str, colour: str = "#0072B2") -> str:
    """An SVG picture with the label on grey and the value on the colour."""
    left, right = (round(LETTER * len(text)) + 2 * PADDING for text in (label, value))
    texts = "\n".join(
        f'  <text x="{x + PADDING}" y="14" textLength="{width - 2 * PADDING}">{escape(text)}</text>'
        for x, width, text in ((0, left, label), (left, right, value))
    )
    name = escape(f"{label}: {value}", quote=True)
    width = left + right
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" role="img" \
aria-label="{name}">
<title>{name}</title>
<clipPath id="round"><rect width="{width}" height="{HEIGHT}" rx="3"/></clipPath>
<g clip-path="url(#round)">
  <rect width="{left}" height="{HEIGHT}" fill="#444"/>
  <rect x="{left}" width="{right}" height="{HEIGHT}" fill="{colour}"/>
</g>
<g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11">
{texts}
</g>
</svg>
"""
