"""One phone set for all synthesizers: 45 sounds of English and silence.

The symbols are those of CMU's dictionary (ARPAbet in lower case) with six more: ax (the vowel of
"the"), oh (British "dog"), ia, ea and ua (British "near", "square" and "cure") and dx (the t of
American "water"). The tables say which sound each synthesizer's symbol is.
"""

PHONES = (
    "sil aa ae ah ao aw ax ay b ch d dh dx ea eh er ey f g hh ia ih iy jh k l m n ng oh ow oy p r "
    "s sh t th ua uh uw v w y z zh").split()
INDEX = {phone: index for index, phone in enumerate(PHONES)}

# Flite's and Festival's symbols. Those that are not here have the name of the common symbol.
CMU = {"pau": "sil", "h#": "sil", "brth": "sil", "#": "sil", "hv": "hh", "el": "l", "em": "m",
       "en": "n", "nx": "n"}

# eSpeak NG's mnemonics. A part "" belongs to the phone before it.
ESPEAK = {
    "_": "sil", "_:": "sil", "_::": "sil", "_!": "sil", "_|": "sil", "||": "sil", ";": "", "?": "",
    # Vowels.
    "a": "ae", "a#": "ax", "aa": "ae", "A:": "aa", "A@": "aa", "A": "aa", "0": "oh", "O": "oh",
    "O2": "oh", "0#": "ax", "O:": "ao", "O@": "ao", "o@": "ao", "E": "eh", "E2": "eh", "V": "ah",
    "@": "ax", "@2": "ax", "@5": "ax", "@L": "l", "3": "er", "3:": "er", "IR": "er", "VR": "er",
    "I": "ih", "I2": "ih", "I#": "ih", "i": "iy", "i:": "iy", "U": "uh", "u:": "uw", "u": "uw",
    "aI": "ay", "aI2": "ay", "aI3": "ay", "aI@": "ay", "aU": "aw", "aU@": "aw", "eI": "ey",
    "oU": "ow", "OI": "oy", "i@": "ia", "i@3": "ia", "e@": "ea", "U@": "ua",
    # Consonants.
    "p": "p", "b": "b", "t": "t", "t2": "t", "t#": "dx", "t[": "t", "d": "d", "d#": "dx",
    "d[": "d", "k": "k", "g": "g", "f": "f", "v": "v", "T": "th", "D": "dh", "s": "s", "z": "z",
    "S": "sh", "Z": "zh", "h": "hh", "tS": "ch", "dZ": "jh", "m": "m", "n": "n", "N": "ng",
    "l": "l", "l#": "l", "r": "r", "r-": "r", "w": "w", "w#": "w", "j": "y", "n-": "n", "m-": "m",
    "x": "k",
}
# Where an accent's symbol sounds otherwise.
ESPEAK_ACCENTS = {
    "en-us": {"0": "aa", "O2": "aa", "O": "aa"}, "en-us-nyc": {"0": "aa", "O2": "aa", "O": "aa"},
    "en-gb": {"aa": "aa"}, "en-gb-x-rp": {"aa": "aa"},
}


def of_cmu(symbol: str) -> str:
    """The phone of a symbol of Flite or Festival. KeyError if there is none."""
    phone = CMU.get(symbol, symbol)
    return PHONES[INDEX[phone]]


def of_espeak(symbol: str, accent: str) -> str:
    """The phone of an eSpeak NG mnemonic, "" if it belongs to the phone before.

    KeyError if there is none.
    """
    accented = ESPEAK_ACCENTS.get(accent, {})
    return accented[symbol] if symbol in accented else ESPEAK[symbol]
