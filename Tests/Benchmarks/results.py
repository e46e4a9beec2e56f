"""A file of results with one section for each machine."""

import re

START, END = "<!-- compare.py: {} -->", "<!-- compare.py: end -->"


def machine_name(machine):
    """What tells machines apart: two of one processor are one machine, unless a feature is switched off."""
    return f"{machine['processor']}; {' '.join(machine['features'])}"


def with_section(text, machine, table):
    """The text with the machine's section replaced, or added at its end. Other sections stay as they are, each with the
    date of its run."""
    name = machine_name(machine)
    start, title = START.format(name), machine["processor"]
    section = f"{start}\n## {title}\n\n{table.strip()}\n{END}\n"
    earlier = re.compile(re.escape(start) + r"\n.*?" + re.escape(END) + r"\n?", re.DOTALL)
    if earlier.search(text):
        return earlier.sub(lambda _: section, text, count=1)
    return f"{text.rstrip()}\n\n{section}" if text.strip() else section
