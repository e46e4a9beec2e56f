"""Numbers in words, as the world says them."""

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
).split()


def word(number: int) -> str:
    """The words of 0 to 100: 21 is "twenty one"."""
    if not 0 <= number <= 100:
        raise ValueError(f"{number} is not a number of the world: 0 to 100")
    if number == 100:
        return "one hundred"
    if number < 20:
        return ONES[number]
    tens, ones = divmod(number, 10)
    return TENS[tens - 2] + (" " + ONES[ones] if ones else "")
