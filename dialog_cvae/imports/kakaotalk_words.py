"""KakaoTalk's own words among the words of people, in Korean and English.

Open this to add words that stand in place of a file, or lines about a chat.
"""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = r"[^\n]{1,100}"
# What stands in place of a picture, file, place or deleted message; exports of Android have the names of the files.
_FILE: Final = re.compile(
    r"사진(?: \d+장)?|동영상(?: \d+개)?|이모티콘|음성 ?메시지|(?:파일|연락처|지도): [^\n]+|삭제된 메시지입니다\.?"
    r"|(?:\d+ )?photos?|videos?|emoticons?|stickers?|voice (?:note|message)|(?:file|contact|map|location): [^\n]+"
    r"|(?:this|the) message (?:was|has been) deleted\.?|deleted message\.?|[0-9a-f]{32,}\.\w{1,5}",
    re.IGNORECASE,
)
_CALL: Final = re.compile(
    r"(?:보이스톡|페이스톡|그룹콜|라이브톡)(?: (?:해요|취소|부재중|응답 ?없음|종료|시작|통화 ?거절|[\d:]+))*\.?"
    r"|(?:voice|video|group) call(?: (?:cancell?ed|missed|ended|no answer|[\d:]+))*"
    r"|live ?talk(?: (?:ended|started|[\d:]+))+",
    re.IGNORECASE,
)
# Lines of the program, which are no sentences that people write.
_EVENT: Final = (
    rf"{_NAME}님이 (?:들어왔|나갔|들어오셨|나가셨|{_NAME}님을 (?:초대|내보)[가-힣]{{1,4}})습니다\.?"
    rf"|{_NAME}님을 내보냈습니다\.?"
    r"|채팅방 관리자가 메시지를 가렸습니다\.?|메시지가 삭제되었습니다\.?"
    rf"|{_NAME} (?:joined|(?:has )?left) (?:this|the) (?:chatroom|chat)\.|the message has been (?:deleted|hidden)\."
)
_SURE: Final = re.compile(_EVENT, re.IGNORECASE)
_UNMARKED: Final = re.compile(rf"{_EVENT}|{_NAME} (?:joined|left)\.|{_NAME} invited {_NAME}\.", re.IGNORECASE)


def is_file(text: str) -> bool:
    """Whether a message is nothing but the program's words for a file or a deleted message."""
    return _FILE.fullmatch(text.strip()) is not None


def is_call(text: str) -> bool:
    """Whether a message says that there was a call."""
    return _CALL.fullmatch(text.strip()) is not None


def is_event(text: str, *, has_speaker: bool) -> bool:
    """Whether a text is the program's: one with a speaker, or a line without time and speaker."""
    return (_SURE if has_speaker else _UNMARKED).fullmatch(text.strip()) is not None
