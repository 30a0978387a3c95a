"""Topics and phrases of the synthetic sample corpus: the tables of the grammar in `sample`.

Open it to add a topic or a phrase. Templates have slots in braces: `do`, `did` (an activity and its past), `things` and
`others` (two kinds), `good` and `bad` (adjectives of the topic), `who` (a person close to the speaker), `when`,
`often`, `topic` and `kind`. Slots keep their values within an exchange, so an answer is about its question.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Topic(NamedTuple):
    """A topic of conversation.

    Attributes:
        name: the topic's name.
        kind: the noun in "what kind of ... do you like".
        things: plural nouns of that kind.
        activities: pairs of an activity's base form and its past.
        good: adjectives that praise the things.
        bad: adjectives that criticise the things.
    """

    name: str
    kind: str
    things: tuple[str, ...]
    activities: tuple[tuple[str, str], ...]
    good: tuple[str, ...]
    bad: tuple[str, ...]


class Move(NamedTuple):
    """A kind of utterance.

    Attributes:
        act: its dialog act, one of the 42 standard classes.
        templates: ways to say it, equally likely.
        next: names of the moves that may follow, equally likely; empty if the exchange ends.
        same_speaker: whether the previous speaker continues, instead of the other one.
    """

    act: str
    templates: tuple[str, ...]
    next: tuple[str, ...] = ()
    same_speaker: bool = False


TOPICS: tuple[Topic, ...] = (
    Topic(
        "pets",
        "pets",
        ("dogs", "cats", "rabbits", "parrots", "goldfish", "hamsters"),
        (
            ("take a dog for a walk", "took my neighbor's dog for a walk"),
            ("teach an animal tricks", "taught our puppy a trick"),
            ("visit an animal shelter", "visited the animal shelter"),
            ("brush a long-haired cat", "brushed the cat for an hour"),
        ),
        ("loyal", "gentle", "playful", "easy to care for"),
        ("noisy", "messy", "stubborn", "expensive to feed"),
    ),
    Topic(
        "cooking",
        "food",
        ("soups", "curries", "pies", "salads", "noodles", "grilled vegetables"),
        (
            ("bake bread", "baked two loaves of bread"),
            ("try new recipes", "tried a recipe from the newspaper"),
            ("cook for guests", "cooked dinner for six guests"),
            ("make your own pasta", "made pasta from scratch"),
        ),
        ("tasty", "healthy", "cheap to make", "filling"),
        ("greasy", "too spicy", "bland", "a lot of trouble to make"),
    ),
    Topic(
        "music",
        "music",
        ("jazz records", "folk songs", "symphonies", "country songs", "old ballads", "drum solos"),
        (
            ("play an instrument", "played the piano at a wedding"),
            ("go to concerts", "went to a concert downtown"),
            ("sing in a choir", "sang with the church choir"),
            ("listen to the radio", "listened to a radio show about the blues"),
        ),
        ("soothing", "lively", "beautiful", "good to dance to"),
        ("loud", "boring", "gloomy", "hard to listen to"),
    ),
    Topic(
        "sports",
        "sports",
        ("baseball games", "tennis matches", "bicycle races", "soccer games", "marathons", "hockey games"),
        (
            ("go jogging", "jogged five miles"),
            ("play tennis", "played tennis until dark"),
            ("watch the game on television", "watched the final on television"),
            ("swim in the lake", "swam across the lake"),
        ),
        ("thrilling", "fast", "fun to watch", "good for the whole family"),
        ("slow", "rough", "way too long", "hard on the knees"),
    ),
    Topic(
        "movies",
        "movies",
        ("comedies", "westerns", "mysteries", "cartoons", "documentaries", "horror movies"),
        (
            ("go to the theater", "went to the theater on Main Street"),
            ("rent a movie", "rented an old movie"),
            ("watch the same film twice", "watched my favorite film again"),
            ("read the reviews first", "read a terrible review in the paper"),
        ),
        ("funny", "clever", "well acted", "full of surprises"),
        ("silly", "violent", "predictable", "too sad for me"),
    ),
    Topic(
        "travel",
        "trips",
        ("camping trips", "train rides", "beach vacations", "city tours", "ocean cruises", "mountain hikes"),
        (
            ("travel by train", "took the night train to Chicago"),
            ("go camping", "camped beside a river"),
            ("visit museums", "visited three museums in one day"),
            ("fly across the ocean", "flew to Portugal"),
        ),
        ("relaxing", "affordable", "full of adventure", "wonderful for children"),
        ("crowded", "tiring", "overpriced", "ruined by rain"),
    ),
    Topic(
        "gardening",
        "plants",
        ("tomatoes", "roses", "herbs", "sunflowers", "apple trees", "pumpkins"),
        (
            ("grow vegetables", "planted beans and carrots"),
            ("mow the lawn", "mowed the lawn and pulled weeds"),
            ("start seeds indoors", "started some seeds on the windowsill"),
            ("water everything by hand", "watered the whole yard by hand"),
        ),
        ("colorful", "hardy", "fragrant", "simple to grow"),
        ("fussy", "eaten by bugs", "slow to bloom", "thirsty all summer"),
    ),
    Topic(
        "books",
        "books",
        ("novels", "biographies", "poems", "detective stories", "science fiction stories", "history books"),
        (
            ("read before bed", "read until midnight"),
            ("go to the library", "borrowed a stack of books from the library"),
            ("join a book club", "joined a book club at work"),
            ("read aloud to children", "read a whole chapter to the kids"),
        ),
        ("gripping", "thoughtful", "hard to put down", "beautifully written"),
        ("dull", "confusing", "far too thick", "depressing"),
    ),
    Topic(
        "cars",
        "cars",
        ("pickup trucks", "station wagons", "sports cars", "minivans", "used cars", "electric cars"),
        (
            ("change your own oil", "changed the oil in the driveway"),
            ("drive to work", "drove to work through the snow"),
            ("wash the car", "washed and waxed the car"),
            ("repair things yourself", "replaced the brakes myself"),
        ),
        ("reliable", "roomy", "quiet", "great on gas"),
        ("rusty", "cramped", "always in the shop", "costly to insure"),
    ),
    Topic(
        "school",
        "classes",
        ("math classes", "art lessons", "language courses", "science projects", "evening classes", "spelling tests"),
        (
            ("help with homework", "helped with algebra homework"),
            ("take a night course", "signed up for a night course"),
            ("volunteer in a classroom", "volunteered in a second grade classroom"),
            ("meet the teachers", "met the new principal"),
        ),
        ("useful", "challenging", "well taught", "worth the effort"),
        ("frustrating", "overcrowded", "badly organized", "a waste of time"),
    ),
)

MOVES: Mapping[str, Move] = MappingProxyType(
    {
        "greet": Move(
            "conventional-opening",
            ("Hello, I guess we are supposed to talk about {topic}.", "Hi there. So, our topic is {topic}."),
        ),
        "ask habit": Move(
            "yes-no-question",
            ("Do you ever {do}?", "Do you {do} much?", "So, do you {do} these days?"),
            ("yes habit", "no habit", "yes and you"),
        ),
        "yes habit": Move(
            "yes_answers",
            ("Yes, I {did} {when}.", "Yeah, {often}.", "Oh yes, {often}. I {did} {when}."),
            ("praise", "ask company", "ask how"),
        ),
        "yes and you": Move("yes_answers", ("Yes, {often}.", "Yeah, I {did} {when}."), ("return question",)),
        "no habit": Move(
            "no_answers",
            ("No, I never have the time.", "No, not really, but {who} would love to.", "No, I'm too lazy for that."),
            ("encourage", "know feeling", "so ask kind"),
        ),
        "return question": Move(
            "open-question", ("How about you?", "What about yourself?"), ("same here", "not me"), same_speaker=True
        ),
        "same here": Move(
            "statement-non-opinion", ("Me too. I {did} {when}.", "Pretty much the same, {often}."), ("backchannel",)
        ),
        "not me": Move(
            "statement-non-opinion", ("Oh, I leave that to {who}.", "I used to, but not anymore."), ("know feeling",)
        ),
        "ask company": Move(
            "wh-question", ("Who do you do that with?", "Who goes along with you?"), ("name company", "alone")
        ),
        "name company": Move(
            "statement-non-opinion", ("Usually with {who}.", "With {who}, {often}."), ("praise", "backchannel")
        ),
        "alone": Move("statement-non-opinion", ("Nobody, I do it by myself.", "Just me, alone."), ("backchannel",)),
        "ask kind": Move(
            "wh-question", ("What kind of {kind} do you like best?", "Which {kind} do you prefer?"), ("name kind",)
        ),
        "so ask kind": Move("wh-question", ("Then what kind of {kind} do you enjoy?",), ("name kind",)),
        "name kind": Move(
            "statement-opinion",
            ("I like {things} the most.", "{things}, I would say.", "Mostly {things}, I suppose."),
            ("share taste", "differ", "ask why"),
        ),
        "ask why": Move("wh-question", ("What do you like about {things}?", "Why {things}?"), ("say why",)),
        "say why": Move(
            "statement-opinion",
            ("Well, {things} are {good}.", "They are {good}, and never {bad}."),
            ("agree", "acknowledge"),
        ),
        "share taste": Move("agree/accept", ("So do I. I love {things}.", "Oh, me too. {things} are {good}.")),
        "differ": Move(
            "statement-opinion",
            ("I'm not so sure. I find {things} {bad}.", "Really? I think {others} are better."),
            ("concede", "insist"),
        ),
        "concede": Move("maybe/accept-part", ("Maybe you're right.", "Well, sometimes they are.")),
        "insist": Move("reject", ("No, I don't think so at all.", "Oh, I can't agree with that.")),
        "praise things": Move(
            "statement-opinion",
            ("I think {things} are really {good}.", "If you ask me, {things} are {good}."),
            ("agree", "differ", "share taste"),
        ),
        "blame things": Move(
            "statement-opinion",
            ("You know, {things} have become {bad}.", "The trouble with {things} is that they are {bad}."),
            ("agree", "defend", "know feeling"),
        ),
        "defend": Move(
            "statement-opinion", ("I don't mind, because they are also {good}.", "But {things} can be {good}, too.")
        ),
        "tell": Move(
            "statement-non-opinion",
            ("I {did} {when}.", "{when}, I {did} with {who}."),
            ("ask how", "go on", "praise", "relate"),
        ),
        "go on": Move("acknowledge_(backchannel)", ("Uh-huh.", "Yeah.", "Mm-hmm."), ("went well", "went badly")),
        "ask how": Move("wh-question", ("How did it go?", "How was that?"), ("went well", "went badly")),
        "went well": Move(
            "statement-opinion",
            ("It was wonderful. I would do it again.", "It was a lot of fun.", "Better than I expected."),
            ("praise", "backchannel"),
        ),
        "went badly": Move(
            "statement-opinion",
            ("Honestly, it was a disaster.", "It was hard work, and I was tired.", "Not so well, I'm afraid."),
            ("pity", "know feeling"),
        ),
        "relate": Move(
            "statement-non-opinion",
            ("That's funny, {who} did the same thing.", "I have always wanted to do that."),
            ("acknowledge",),
        ),
        "encourage": Move(
            "action-directive", ("You should try it sometime.", "Well, give it a chance."), ("maybe", "acknowledge")
        ),
        "maybe": Move("maybe/accept-part", ("Maybe I will.", "Perhaps one of these days.")),
        "agree": Move("agree/accept", ("That's true.", "Exactly.", "Right, I think so, too.", "I agree with you.")),
        "praise": Move("appreciation", ("Oh, that's great.", "That sounds nice.", "Good for you.", "How wonderful.")),
        "pity": Move("appreciation", ("Oh, that's too bad.", "What a shame.", "I'm sorry to hear that.")),
        "know feeling": Move("agree/accept", ("I know what you mean.", "I know the feeling.", "Yeah, same with me.")),
        "backchannel": Move("acknowledge_(backchannel)", ("Uh-huh.", "Yeah.", "Right.", "I see.")),
        "acknowledge": Move("response_acknowledgement", ("Oh, okay.", "Oh, really.", "I see what you mean.")),
        "close": Move(
            "conventional-closing",
            ("Well, it was nice talking to you.", "I enjoyed our talk about {topic}.", "Well, I have to go now."),
            ("close too",),
        ),
        "close too": Move(
            "conventional-closing", ("You too. Bye-bye.", "Same here. Take care.", "Okay, good-bye.", "Thanks, bye.")
        ),
    }
)

# How an exchange about something new may begin.
OPENINGS = ("ask habit", "ask kind", "praise things", "blame things", "tell")

WHEN = ("last weekend", "last night", "yesterday", "a month ago", "on Sunday", "the other day")
OFTEN = ("all the time", "every week", "once in a while", "whenever I can", "nearly every day")
YOUNG, MIDDLE, OLD = 30, 50, 100  # upper ages in years, exclusive
PEOPLE: Mapping[int, tuple[str, ...]] = MappingProxyType(
    {
        YOUNG: ("my roommate", "my parents", "my best friend"),
        MIDDLE: ("my kids", "my brother", "a friend from work"),
        OLD: ("my grandchildren", "my daughter", "an old friend"),
    }
)
