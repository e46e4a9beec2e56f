"""What the world knows: everything that an answer can be made of."""

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December"
).split()
SEASONS = "spring summer autumn winter".split()
LETTERS = list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

COLOURS = "red green blue yellow orange purple black white brown grey".split()

# A thing, and its colour.
THING_COLOURS = {
    "the sky": "blue", "grass": "green", "snow": "white", "coal": "black", "a banana": "yellow",
    "a lemon": "yellow", "a carrot": "orange", "a tomato": "red", "milk": "white",
    "an elephant": "grey", "chocolate": "brown", "the sun": "yellow", "a leaf": "green",
    "blood": "red", "a plum": "purple", "the sea": "blue",
}

# An animal: what it says, how many legs it has, where it lives, what it eats.
ANIMALS = {
    "dog": ("woof", 4, "in a house", "meat"),
    "cat": ("meow", 4, "in a house", "fish"),
    "cow": ("moo", 4, "on a farm", "grass"),
    "duck": ("quack", 2, "on a lake", "bread"),
    "sheep": ("baa", 4, "on a farm", "grass"),
    "bird": ("tweet", 2, "in a tree", "seeds"),
    "bee": ("buzz", 6, "in a hive", "honey"),
    "horse": ("neigh", 4, "in a stable", "hay"),
    "mouse": ("squeak", 4, "in a hole", "cheese"),
    "lion": ("roar", 4, "in the grass", "meat"),
    "frog": ("croak", 4, "in a pond", "flies"),
}

OPPOSITES = [
    ("hot", "cold"), ("big", "small"), ("day", "night"), ("up", "down"), ("left", "right"),
    ("open", "closed"), ("fast", "slow"), ("wet", "dry"), ("high", "low"), ("old", "new"),
    ("happy", "sad"), ("long", "short"),
]
# Those of them that a thing can be.
ADJECTIVES = "hot cold big small open closed fast slow wet dry old new long short".split()

# How many of the first are in the second.
COUNTS = {
    ("days", "a week"): 7, ("months", "a year"): 12, ("hours", "a day"): 24,
    ("minutes", "an hour"): 60, ("seconds", "a minute"): 60, ("seasons", "a year"): 4,
}
# How many of the first the second has.
PARTS = {
    ("legs", "a spider"): 8, ("wheels", "a car"): 4, ("wheels", "a bicycle"): 2,
    ("fingers", "a hand"): 5, ("sides", "a triangle"): 3, ("sides", "a square"): 4,
}

ROOMS = "kitchen bedroom bathroom garden garage office hall".split()

# What can be turned on and off, and what can be opened and closed.
SWITCHED = "light fan heater radio lamp".split()
MOVED = "door window gate".split()
PLACES = ROOMS + ["charger"]

NAMES = "Anna Ben Clara David Emma Frank Grace Henry".split()
OBJECTS = "key ball book cup hat box phone bag coat clock".split()
SPOTS = "table chair shelf bed floor sofa".split()

SHAPES = "circle square triangle star".split()
SHAPE_COLOURS = "red green blue yellow purple orange".split()
SIZES = "small big".split()
DIRECTIONS = "left right up down".split()
# The nine places of a picture, row by row, and how an answer names them.
PICTURE_PLACES = {
    "top left": "at the top left", "top": "at the top", "top right": "at the top right",
    "left": "on the left", "middle": "in the middle", "right": "on the right",
    "bottom left": "at the bottom left", "bottom": "at the bottom",
    "bottom right": "at the bottom right",
}

# What is said in offices and on telephones. Heard and written down, never asked.
PHRASES = [
    "Hello.", "Hello world.", "Goodbye.", "Thank you.", "I'm sorry.", "Please try again.",
    "One moment, please.", "The number is not answering.", "The last number was not new.",
    "You have a call.", "You entered a number.", "It was the first time.", "One thousand.",
    "It is your telephone number.", "It is with the book and the cup.", "Press the star.",
    "Two plus two equals four.", "It is from Anna and for Ben.", "Oh no.",
]
