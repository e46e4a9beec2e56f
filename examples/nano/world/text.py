"""Exchanges of questions and answers, and families of them that can be listed completely."""

import re
from dataclasses import dataclass

UNKNOWN = "I do not know."

@dataclass(frozen=True)
class Exchange:
    """A question (or a sentence to hear) and its answer, word for word.

    context: what the question is about and comes before it: the text of a story or a picture
    is_spoken: whether the question can be read aloud; false if it contains digits or signs
    """

    kind: str
    question: str
    answer: str
    context: str = ""
    is_spoken: bool = True


@dataclass(frozen=True)
class Family:
    """Questions of one pattern.

    kind: of its exchanges
    name: names the family among all
    asks: patterns of the question, with {slots}; each case can be asked in each of them
    answer: the pattern of the answer
    cases: the values of the slots, one dictionary for each case
    rule: what the cases are, in words, for WORLD.md
    typed: patterns that are typed only, since they contain digits or signs
    held_by: "answer" or "question": what decides whether an exchange is held out; "" if none is
    """

    kind: str
    name: str
    asks: tuple
    answer: str
    cases: tuple
    rule: str
    typed: tuple = ()
    held_by: str = ""

    def exchange(self, case: dict, ask: str) -> Exchange:
        question, answer = capital(ask.format(**case)), self.answer.format(**case)
        answer = answer if self.kind == "command" else capital(answer)
        return Exchange(self.kind, question, answer, is_spoken=ask not in self.typed)

    def exchanges(self):
        """Every exchange of the family."""
        for case in self.cases:
            for ask in self.asks + self.typed:
                yield self.exchange(case, ask)

    def choose(self, rng) -> Exchange:
        return self.exchange(rng.choice(self.cases), rng.choice(self.asks + self.typed))


def capital(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return capital(text) + "."


def listing(parts) -> str:
    """"a", "a and b", "a, b and c"."""
    parts = list(parts)
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def spoken(text: str) -> str:
    """The words of a text as a listener writes them: lower case, without punctuation."""
    return " ".join(re.findall(r"[a-z0-9]+(?:'[a-z]+)?", text.lower()))


def article(noun: str) -> str:
    """The noun with "a" or "an"."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun
