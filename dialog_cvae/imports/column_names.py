"""Common names of a table's columns, by what the columns hold.

Open this to add a name. `columns` chooses between the columns of a table.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final

# Names of columns in lower case, the surest first.
NAMES: Final[Mapping[str, Sequence[str]]] = {
    "conversation": (
        *("conversation", "conversation_id", "conversationid", "conv", "conv_id", "dialog", "dialogue", "dialog_id"),
        *("dialogue_id", "dialogueid", "dialogid", "thread", "thread_id", "session", "session_id", "chat_id", "chat"),
        *("chat_session", "ticket_id", "ticket", "case_id", "call_id", "conversations_thread_id"),
        *("room", "room_id", "channel"),
    ),
    # A type of person, such as user or admin, comes before a name, because a model learns roles better than persons.
    # One that all rows share comes last.
    "speaker": (
        *("speaker", "speaker_type", "speaker_role", "author_type", "author_role", "sender_type", "sender_role"),
        *(
            "from_type",
            "participant_type",
            "user_type",
            "role",
            "from_agent",
            "is_inbound",
            "author",
            "sender",
            "speaker_name",
            "author_name",
        ),
        *("sender_name", "creator_name", "author_display_name", "sender_display_name", "from_user_display_name"),
        *("author_username", "from", "from_name", "direction", "username", "user_name", "user_username"),
        *("display_name", "user_display_name", "user", "participant", "agent", "name", "speaker_id", "speaker_idx"),
        *("author_id", "sender_id", "user_id", "from_id"),
        *("from_user", "from_username"),
        *("from_user_name", "from_user_id", "sender_username", "sender_user_id", "from_email", "from_address"),
        *("from_number", "sender_email"),
    ),
    "recipient": (
        *("recipient", "receiver", "to", "addressee", "recipient_name", "receiver_name", "to_name", "to_user"),
        *("to_username", "to_user_name", "recipient_username", "receiver_username", "recipient_id", "receiver_id"),
        *("to_id", "to_user_id", "recipient_user_id", "receiver_user_id", "to_email", "to_address", "to_number"),
        *("recipient_email", "receiver_email"),
    ),
    "text": (
        *("text", "message", "utterance", "body", "content", "msg", "message_text", "message_body", "message_content"),
        *("msg_text", "msg_body", "body_content", "line"),
        *("stripped_text", "body_text", "plain_body", "body_plain", "plain_text"),  # of mails
    ),
    "time": (
        *("time", "timestamp", "datetime", "date_time", "date", "created_at", "sent_at", "created", "sent", "ts"),
        *("message_date", "message_time", "message_timestamp", "message_datetime", "msg_time", "msg_date"),
        *("time_stamp", "created_on", "created_time", "created_date", "created_utc", "create_time", "create_date"),
        *("date_created", "time_created", "creation_date", "creation_time", "sent_on", "sent_time", "sent_date"),
        *("sent_timestamp", "date_sent", "time_sent", "send_time", "send_date", "posted_at", "posted_on", "post_date"),
        *("post_time", "date_posted", "published_at", "submitted_at", "inserted_at", "timestamp_utc", "utc_timestamp"),
        *("time_utc", "utc_time", "datetime_utc", "date_utc", "timestamp_ms", "unix_timestamp", "unix_time"),
        *("event_time", "chat_time", "chat_date", "created_date_time", "sent_date_time", "created_datetime"),
        *("sent_datetime",),
    ),
    "date": (),  # the day, if the time is a clock's; `time_columns` guesses it
    "topic": ("topic", "subject", "category", "title", "theme"),
    "reply_to": (
        *("in_response_to_tweet_id", "in_reply_to", "in_reply_to_id", "in_reply_to_status_id", "in_reply_to_tweet_id"),
        *("reply_to", "reply_to_id", "reply_to_message_id", "parent_id", "parent_message_id", "parent_comment_id"),
    ),
    # After the replies, which decide between several.
    "id": ("message_id", "msg_id", "tweet_id", "comment_id", "id", "post_id"),
    "response": (),  # guessed only as the second of a pair
}
# Columns of a message and the answer to it, which are in one row.
PAIRS: Final = (
    *(("prompt", "completion"), ("prompt", "response"), ("instruction", "output"), ("instruction", "response")),
    *(("question", "answer"), ("message", "response")),
)
MORE: Final = ("input", "context")  # columns with what an instruction is about
# The types of persons among them: useless if all rows have the same.
TYPES: Final = frozenset(
    {
        *("speaker_type", "speaker_role", "author_type", "author_role", "sender_type", "sender_role", "from_type"),
        *("participant_type", "user_type", "role", "direction", "from_agent", "is_inbound"),
    }
)
# Columns of speakers that hold true or false, and the speakers if it is true and if it is false.
SIDES: Final = {"from_agent": ("agent", "customer"), "is_inbound": ("customer", "agent")}
# Whatever else is in the table, with one of these columns each row is a message of one speaker.
SURE_SPEAKERS: Final = NAMES["speaker"][: NAMES["speaker"].index("username")]
_PLACES: Final = {"chat", "room", "room_id", "channel"}  # where many conversations may be held
SURE_CONVERSATIONS: Final = tuple(each for each in NAMES["conversation"] if each not in _PLACES)
HOLDER_IDS: Final = ("id", *NAMES["conversation"])  # keys that name a conversation in the object that holds it
TRANSCRIPT: Final = "transcript"  # a column with whole conversations; `row_transcripts` reads it
KINDS: Final = (*NAMES, TRANSCRIPT)  # what a column may hold, for --column
REQUIRED: Final = ("speaker", "text")
LINKS: Final = ("id", "reply_to")  # columns that are useful only together
# Columns that say whether the owner of a phone sent a message, whose speaker may then be blank.
OUTGOING: Final = ("type", "direction", "message_type", "is_from_me", "from_me")
# Values of a column "channel" that say how a message was sent, not in which conversation.
WAYS: Final = frozenset(
    {
        *("email", "e_mail", "mail", "chat", "live_chat", "livechat", "web", "website", "web_chat", "webchat", "phone"),
        *("telephone", "call", "voice", "voicemail", "sms", "text", "mms", "app", "mobile", "in_app", "api", "x"),
        *("messenger", "facebook", "facebook_messenger", "whatsapp", "telegram", "instagram", "twitter", "line"),
        *("wechat", "social", "social_media", "form", "web_form", "contact_form", "portal", "fax", "letter"),
        *("in_person", "store", "bot", "widget", "help_center"),
    }
)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")  # the place between two words of a name such as createdAt


def spelling(column: str) -> str:
    """A column's name in lower case, with one underscore for all between its words, as created_at for createdAt."""
    return re.sub(r"[\W_]+", "_", _HUMP.sub("_", column).lower()).strip("_")


def looks_like_messages(columns: Iterable[str]) -> bool:
    """Whether columns or keys have the names of a speaker and a text; a vague name of speakers needs a time too."""
    spelt = {spelling(column) for column in columns}
    vague = spelt.intersection(NAMES["speaker"]) and spelt.intersection(NAMES["time"])
    return bool(spelt.intersection(NAMES["text"]) and (spelt.intersection(SURE_SPEAKERS) or vague))


def find_pair(spelt: Container[str]) -> tuple[str, str] | None:
    """The columns of a message and the answer to it; None if each row is one message."""
    if any(each in spelt for each in SURE_SPEAKERS):
        return None
    return next((pair for pair in PAIRS if all(each in spelt for each in pair)), None)
