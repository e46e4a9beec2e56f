"""Words that are not of the world, for questions that Nano cannot answer.

Training has the words of TRAINED, the held-out questions those of HELD_OUT; none is in both.
"""

TRAINED = {
    "animal": (
        "tiger bear wolf fox rabbit snake monkey camel goat pig hen goose owl eagle whale shark "
        "turtle ant crab deer zebra giraffe panda penguin donkey").split(),
    "thing": (
        "piano guitar hammer pencil bottle mirror carpet pillow candle bucket ladder ticket wallet "
        "camera computer knife spoon fork plate basket blanket button needle rocket engine statue "
        "bridge tower castle church museum hospital library airport station river mountain island "
        "desert forest cloud diamond magnet balloon sandwich pizza cake potato onion cherry "
        "pumpkin jacket shirt glove sock boot ring necklace").split(),
    "device": "oven printer pump toaster freezer camera alarm sprinkler projector mixer".split(),
    "name": "Oliver Sophie Lucas Martha Peter Julia Thomas Nina Victor Laura Simon Rosa".split(),
    "adjective": (
        "brave clever strong rich quiet empty heavy thick deep narrow early cheap bitter smooth "
        "modern private").split(),
    "verb": (
        "swim dance cook paint climb sing draw fly jump shout whistle juggle "
        "sneeze").split(),
    "person": (
        "doctor teacher pilot farmer baker king queen soldier sailor singer writer lawyer").split(),
    "town": "Paris London Berlin Madrid Rome Vienna Oslo Cairo".split(),
}
HELD_OUT = {
    "animal": (
        "badger hamster dolphin parrot squirrel kangaroo lizard ostrich salmon beetle").split(),
    "thing": (
        "violin umbrella telescope suitcase envelope kettle helmet curtain fountain "
        "volcano cathedral theatre harbour tunnel glacier lantern compass anchor pancake "
        "cucumber raspberry mushroom sweater bracelet").split(),
    "device": "dishwasher vacuum scanner ventilator boiler".split(),
    "name": "Gabriel Charlotte Edward Monica Patrick Isabel".split(),
    "adjective": "generous polite gentle shallow famous rough loyal fragile".split(),
    "verb": "skate knit wrestle gallop yawn whisper translate multiply".split(),
    "person": "plumber dentist emperor astronaut carpenter detective".split(),
    "town": "Lisbon Dublin Prague Warsaw Athens Helsinki".split(),
}
