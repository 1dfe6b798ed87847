//! The names of the Bot API's methods, as of version 10.0. Anything else is answered 404.

/// The method's own spelling. Telegram compares names without case.
pub(super) fn method(name: &str) -> Option<&'static str> {
    METHODS.iter().copied().find(|known| known.eq_ignore_ascii_case(name))
}

#[rustfmt::skip]
const METHODS: &[&str] = &[
    "addStickerToSet", "answerCallbackQuery", "answerGuestQuery", "answerInlineQuery",
    "answerPreCheckoutQuery", "answerShippingQuery", "answerWebAppQuery", "approveChatJoinRequest",
    "approveSuggestedPost", "banChatMember", "banChatSenderChat", "close", "closeForumTopic",
    "closeGeneralForumTopic", "convertGiftToStars", "copyMessage", "copyMessages", "createChatInviteLink",
    "createChatSubscriptionInviteLink", "createForumTopic", "createInvoiceLink", "createNewStickerSet",
    "declineChatJoinRequest", "declineSuggestedPost", "deleteAllMessageReactions", "deleteBusinessMessages",
    "deleteChatPhoto", "deleteChatStickerSet", "deleteForumTopic", "deleteMessage", "deleteMessageReaction",
    "deleteMessages", "deleteMyCommands", "deleteStickerFromSet", "deleteStickerSet", "deleteStory",
    "deleteWebhook", "editChatInviteLink", "editChatSubscriptionInviteLink", "editForumTopic",
    "editGeneralForumTopic", "editMessageCaption", "editMessageChecklist", "editMessageLiveLocation",
    "editMessageMedia", "editMessageReplyMarkup", "editMessageText", "editStory",
    "editUserStarSubscription", "exportChatInviteLink", "forwardMessage", "forwardMessages",
    "getAvailableGifts", "getBusinessAccountGifts", "getBusinessAccountStarBalance",
    "getBusinessConnection", "getChat", "getChatAdministrators", "getChatGifts", "getChatMember",
    "getChatMemberCount", "getChatMenuButton", "getCustomEmojiStickers", "getFile",
    "getForumTopicIconStickers", "getGameHighScores", "getManagedBotAccessSettings", "getManagedBotToken",
    "getMe", "getMyCommands", "getMyDefaultAdministratorRights", "getMyDescription", "getMyName",
    "getMyShortDescription", "getMyStarBalance", "getStarTransactions", "getStickerSet", "getUpdates",
    "getUserChatBoosts", "getUserGifts", "getUserPersonalChatMessages", "getUserProfileAudios",
    "getUserProfilePhotos", "getWebhookInfo", "giftPremiumSubscription", "hideGeneralForumTopic",
    "leaveChat", "logOut", "pinChatMessage", "postStory", "promoteChatMember", "readBusinessMessage",
    "refundStarPayment", "removeBusinessAccountProfilePhoto", "removeChatVerification",
    "removeMyProfilePhoto", "removeUserVerification", "reopenForumTopic", "reopenGeneralForumTopic",
    "replaceManagedBotToken", "replaceStickerInSet", "repostStory", "restrictChatMember",
    "revokeChatInviteLink", "savePreparedInlineMessage", "savePreparedKeyboardButton", "sendAnimation",
    "sendAudio", "sendChatAction", "sendChecklist", "sendContact", "sendDice", "sendDocument", "sendGame",
    "sendGift", "sendInvoice", "sendLivePhoto", "sendLocation", "sendMediaGroup", "sendMessage",
    "sendMessageDraft", "sendPaidMedia", "sendPhoto", "sendPoll", "sendSticker", "sendVenue", "sendVideo",
    "sendVideoNote", "sendVoice", "setBusinessAccountBio", "setBusinessAccountGiftSettings",
    "setBusinessAccountName", "setBusinessAccountProfilePhoto", "setBusinessAccountUsername",
    "setChatAdministratorCustomTitle", "setChatDescription", "setChatMemberTag", "setChatMenuButton",
    "setChatPermissions", "setChatPhoto", "setChatStickerSet", "setChatTitle",
    "setCustomEmojiStickerSetThumbnail", "setGameScore", "setManagedBotAccessSettings",
    "setMessageReaction", "setMyCommands", "setMyDefaultAdministratorRights", "setMyDescription",
    "setMyName", "setMyProfilePhoto", "setMyShortDescription", "setPassportDataErrors",
    "setStickerEmojiList", "setStickerKeywords", "setStickerMaskPosition", "setStickerPositionInSet",
    "setStickerSetThumbnail", "setStickerSetTitle", "setUserEmojiStatus", "setWebhook",
    "stopMessageLiveLocation", "stopPoll", "transferBusinessAccountStars", "transferGift",
    "unbanChatMember", "unbanChatSenderChat", "unhideGeneralForumTopic", "unpinAllChatMessages",
    "unpinAllForumTopicMessages", "unpinAllGeneralForumTopicMessages", "unpinChatMessage", "upgradeGift",
    "uploadStickerFile", "verifyChat", "verifyUser",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_others_are_unknown() {
        assert_eq!(method("SENDMESSAGE"), Some("sendMessage"));
        assert_eq!(method("sendMessages"), None);
    }
}
