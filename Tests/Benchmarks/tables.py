"""Medians, ratios of medians, and the Markdown that shows them."""

from math import sqrt
from statistics import median

from plan import TITLES


# If the highest memory rate is this many times the lowest, samples of decoding are split by rate.
TWO_RATES = 1.35
# The distance from the middle beyond which a rate is low or high.
APART = 1.1


def digits(value):
    """Three significant digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def medians(row):
    return {who: median(samples) for who, samples in row["samples"].items() if samples}


def is_lyra(who):
    return who.startswith("lyra")


def advantage(row, who):
    """The ratio of a contender's speed to that of its fastest peer, by medians, or None without a peer."""
    values = medians(row)
    peers = [value for name, value in values.items() if not is_lyra(name)]
    if not peers or who not in values:
        return None
    return values[who] / max(peers) if row["better"] == "higher" else min(peers) / values[who]


def spread(row):
    """The largest range of a contender's samples, as a share of their median."""
    lists = [samples for samples in row["samples"].values() if samples]
    return max(((max(samples) - min(samples)) / median(samples) for samples in lists), default=0.0)


def contenders(rows):
    """All names, lyra's first, each kind in the order of appearance."""
    names = list(dict.fromkeys(name for row in rows for name in row["samples"]))
    return sorted(names, key=lambda name: not is_lyra(name))


def line(cells):
    return "| " + " | ".join(cells) + " |"


def comparison_table(rows):
    names = contenders(rows)
    ours = [name for name in names if is_lyra(name)]
    shares = [f"{name} : best peer" for name in ours] if len(ours) < len(names) else []
    table = [line(["what", "weights", "unit", *names, *shares]), "|---|---|---|" + "--:|" * (len(names) + len(shares))]
    for row in rows:
        values = medians(row)
        cells = [row["what"], TITLES.get(row["weights"], row["weights"]), row["unit"]]
        cells += [digits(values[name]) if name in values else "" for name in names]
        for name in ours if shares else []:
            ratio = advantage(row, name)
            cells.append("" if ratio is None else f"{digits(ratio)} ×")
        table.append(line(cells))
    return table


def split_by_reading(rows):
    """The rows whose samples have memory rates, twice: with the samples at low rates, then with those at high rates.
    Samples with both, or with a rate between, are in neither. Empty if the rates differ little."""
    rows = [row for row in rows if row.get("reading")]
    rates = [rate for row in rows for samples in row["reading"].values() for beside in samples for rate in beside]
    if not rates or max(rates) < TWO_RATES * min(rates):
        return []
    middle, parts = sqrt(median_end(rates, False) * median_end(rates, True)), []
    for row in rows:
        for is_high in (False, True):
            samples, near = {}, []
            for who, values in row["samples"].items():
                for value, beside in zip(values, row["reading"].get(who, [])):
                    if beside and all(rate > middle * APART if is_high else rate < middle / APART for rate in beside):
                        samples.setdefault(who, []).append(value)
                        near += beside
            if any(map(is_lyra, samples)):
                counts = ", ".join(str(len(samples.get(who, []))) for who in contenders([row]))
                what = f"{row['what']}, reading {digits(median(near))} GB/s ({counts} samples)"
                parts.append({**row, "what": what, "samples": samples})
    return parts


def median_end(rates, is_high):
    """The median of the highest or lowest tenth, so that a single outlier does not count."""
    ordered = sorted(rates, reverse=is_high)
    return median(ordered[:max(1, len(ordered) // 10)])


def lyra_table(rows):
    """The table of rows of lyra's own benchmark, without peers."""
    labels = ["weights"] if any("weights" in row for row in rows) else []
    table = [line(["part", "what", *labels, "result"]), "|---|---|" + "---|" * len(labels) + "--:|"]
    for row in rows:
        result = f"{digits(row['value'])} {row['unit']}"
        table.append(line([row["part"], row["what"], *(row[label] for label in labels), result]))
    return table


def heading(result):
    machine, versions = result["machine"], result["versions"]
    contenders = "; ".join(f"{name} {version}" for name, version in versions.items())
    rounds = f"medians of {result['rounds']} rounds, in turns" if result["rounds"] > 1 else "each measured once"
    return (
        f"{result['date']}, {machine['processor']} ({', '.join(machine['features']) or 'no vector features'}), "
        f"{machine['processors']} processors, {machine['memory_gb']:.0f} GB, "
        f"{machine['system']}; {result['threads']} threads; preset {result['preset']}, random weights; {rounds}. "
        f"{contenders}." + "".join(f" {name} runs with {what}." for name, what in result["features"].items() if what))


def markdown(result):
    parts = [[heading(result)]]
    if result["limits"]:
        parts.append(["What the machine reaches in plain loops:"])
        parts.append(lyra_table(result["limits"]))
    rows = [row for row in result["rows"] if row["samples"]]
    if rows:
        parts.append(comparison_table(rows))
        widest = max(rows, key=spread)
        if spread(widest) > 0:
            parts.append([
                f"Rounds of one contender differ by {spread(widest):.0%} of their median at most ({widest['what']}, "
                f"{TITLES.get(widest['weights'], widest['weights'])})."])
    if split := split_by_reading(rows):
        parts.append(["The speed of memory changed. By the rate of a plain loop around each sample:"])
        parts.append(comparison_table(split))
    if result["training"]:
        parts.append(["Training steps on long examples, with the extractor and without, of lyra only:"])
        parts.append(lyra_table(result["training"]))
    if result["answer"]:
        parts.append(["A spoken answer, of lyra only:"])
        parts.append(lyra_table(result["answer"]))
    if result["notes"]:
        parts.append([f"Note: {note}." for note in result["notes"]])
    if result["left_out"]:
        parts.append(["Left out:"])
        parts.append([f"- {note}" for note in result["left_out"]])
    return "\n\n".join("\n".join(part) for part in parts) + "\n"
