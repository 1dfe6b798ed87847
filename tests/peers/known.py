"""Where the simulator is known not to show what the libraries expect: by the name of the case, what a library may then say
(a regular expression that each of its complaints must hold), and why. A line whose case has come right says so, and can go."""

SIZES = (r"\b(width|height)\b", "the simulator leaves out width and height, which are always there")
LENGTH = (r"\blength\b", "the simulator leaves out length, which is always there")
STICKER = (
    r"\bsticker\.(type|width|height|is_animated|is_video): Field required|Sticker\.__init__\(\) missing",
    "the simulator leaves out type, width, height, is_animated and is_video, which are always there",
)
POLL = (
    r"\b(persistent_id|allows_revoting|members_only)\b",
    "the simulator leaves out persistent_id of the options, allows_revoting and members_only (Bot API 9.6)",
)
CHAT = (
    r"\b(accent_color_id|max_reaction_count|accepted_gift_types)\b",
    "the simulator leaves out accent_color_id, max_reaction_count and accepted_gift_types of ChatFullInfo",
)

KNOWN = {
    "multipart_is_read": (
        "message text is empty|chat_id is empty",
        "the simulator reads no multipart form; teloxide is given a stand-in that turns it into JSON",
    ),
    "update_press_video": SIZES,
    "update_press_animation": SIZES,
    "update_press_video_note": LENGTH,
    "update_press_sticker": STICKER,
    "update_press_poll": POLL,
    "answer_sendVideo": SIZES,
    "answer_sendAnimation": SIZES,
    "answer_sendVideoNote": LENGTH,
    "answer_sendSticker": STICKER,
    "answer_sendPoll": POLL,
    "answer_getChat": CHAT,
    "answer_getChat_2": CHAT,
    "answer_getChat_3": CHAT,
    "answer_getChat_4": CHAT,
    "methods_that_are_unknown": (
        "'Not Found'",
        "these came with Bot APIs that are newer than the simulator's list of methods",
    ),
    "methods_that_are_not_simulated": (
        "'result': True",
        "the simulator answers true to a method that it does not simulate, whatever it returns",
    ),
}
