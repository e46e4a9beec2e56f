"""Measures a group: all contenders of a case one after the other, then all of them again."""

from contextlib import ExitStack

from contenders import Crash, Failure, log
from tables import digits

# The processor time of a waiting worker, as a share and in seconds, above which there is a note.
IDLE_SHARE, IDLE_SECONDS = 0.02, 0.5


def note_reading(row, who, rates):
    """Records the memory rates around a contender's latest sample."""
    row.setdefault("reading", {}).setdefault(who, []).append(rates)


class Rounds:
    """
    lyra: the tool. start_peer: name → a Peer, or a Failure. result: the JSON object of the comparison, which receives
    rows and omissions. save: writes the object. mend: compiles a peer that crashed as it loaded
    in another way, → how, or None.
    """

    def __init__(self, lyra, start_peer, preset, count, result, save, mend=lambda name: None):
        self.lyra, self.start_peer, self.preset, self.count = lyra, start_peer, preset, count
        self.result, self.save, self.mend = result, save, mend

    def leave_out(self, who, title, why):
        note = f"{who}, {title}: {why}"
        if note not in self.result["left_out"]:
            log(f"left out: {note}")
            self.result["left_out"].append(note)

    def run(self, group, names):
        """`names`: the peers that may take part."""
        log(f"== {group.title}")
        with ExitStack() as stack:
            peers = {}
            for name, request in group.peers.items():
                if name in names and (peer := self.load(name, request, group, stack)):
                    peers[name] = peer
            precisions = list(group.precisions)
            for case in group.cases:
                self.run_case(group, case, precisions, peers)
                self.save()
            for name, peer in peers.items():
                if peer.idle_share > IDLE_SHARE and peer.idle_processor > IDLE_SECONDS:
                    self.result["notes"].append(
                        f"{name}, {group.title}: its process used {peer.idle_share:.0%} of a processor while it waited")
        self.save()

    def load(self, name, request, group, stack):
        """→ the peer, ready to be asked; None if it cannot be. One that crashes is mended once."""
        try:
            try:
                return self.loaded(name, request, stack)
            except Crash as why:
                if not (how := self.mend(name)):
                    raise
                self.result["notes"].append(f"{name} crashed ({why}) and was then {how}")
                return self.loaded(name, request, stack)
        except Failure as why:
            self.leave_out(name, group.title, why)
            return None

    def loaded(self, name, request, stack):
        log(f"{name} loads")
        peer = stack.enter_context(self.start_peer(name))
        answer = peer.ask("load", preset=self.preset, **request)
        self.result["versions"][name] = answer["version"]
        self.result["features"][name] = answer["features"]
        return peer

    def run_case(self, group, case, precisions, peers):
        rows = [self.add_row(group, measure) for measure in case.measures]
        latest = [None] * len(rows)
        for number in range(self.count):
            log(f"round {number + 1} of {self.count}: {', '.join(measure.what for measure in case.measures)}")
            for precision in list(precisions):
                try:
                    found = getattr(self.lyra, case.run)(group.dtype, precision, case.options)
                except Failure as why:
                    self.leave_out(f"lyra {precision}", group.title, why)
                    precisions.remove(precision)
                    continue
                for index, measure in enumerate(case.measures):
                    if (row := measure.row_in(found)) is None:
                        self.leave_out(f"lyra {precision}", group.title, f"its benchmark has no row '{measure.what}'")
                    else:
                        latest[index] = row
                        self.add_sample(rows[index], f"lyra {precision}", row["value"])
                        if measure.section == "decode":
                            # lyra's benchmark measures the memory rate before and after.
                            rates = [rate / 1e9 for rate in row["limit_samples"]]
                            note_reading(rows[index], f"lyra {precision}", rates)
            for name in list(peers):
                try:
                    for index, measure in enumerate(case.measures):
                        self.ask(peers[name], measure, rows[index], latest[index])
                except Failure as why:
                    self.leave_out(name, group.title, why)
                    # The process stays until the group ends, but gets no more requests.
                    del peers[name]

    def ask(self, peer, measure, row, latest):
        """Takes a sample of a peer; `latest` is lyra's row. Samples of decoding get the memory rates around them."""
        if measure.prepare:
            peer.ask(**measure.prepare)
        reads = measure.section == "decode"
        before = self.reading(row) if reads else []
        self.add_sample(row, peer.name, peer.ask(**measure.request_like(latest))["value"])
        if reads:
            note_reading(row, peer.name, before + self.reading(row))

    def add_row(self, group, measure):
        row = {
            "section": measure.section, "what": measure.what, "weights": group.weights, "unit": measure.unit,
            "better": "higher" if measure.higher else "lower", "samples": {}}
        self.result["rows"].append(row)
        return row

    def reading(self, row):
        """The GB/s that a plain loop reads at the moment: a list of one number, or of none if it cannot be measured."""
        try:
            rate = self.lyra.reading()
        except Failure as why:
            self.leave_out("reading", row["what"], why)
            return []
        log(f"  reading: {digits(rate)} GB/s")
        return [rate]

    def add_sample(self, row, who, value):
        row["samples"].setdefault(who, []).append(value)
        log(f"  {row['what']}, {who}: {digits(value)} {row['unit']}")
