//! The names of the Bot API's methods, as of version 10.3. Anything else is answered 404.

/// The method's own spelling. Telegram compares names without case.
pub(super) fn method(name: &str) -> Option<&'static str> {
    METHODS.iter().copied().find(|known| known.eq_ignore_ascii_case(name))
}

/// Whether all that the method ever says is `true`.
pub(super) fn says_true(method: &str) -> bool {
    !SAY_MORE.contains(&method)
}

#[rustfmt::skip]
const METHODS: &[&str] = &[
    "addStickerToSet", "answerCallbackQuery", "answerChatJoinRequestQuery", "answerGuestQuery",
    "answerInlineQuery", "answerPreCheckoutQuery", "answerShippingQuery", "answerWebAppQuery",
    "approveChatJoinRequest", "approveSuggestedPost", "banChatMember", "banChatSenderChat", "close",
    "closeForumTopic", "closeGeneralForumTopic", "convertGiftToStars", "copyMessage", "copyMessages",
    "createChatInviteLink", "createChatSubscriptionInviteLink", "createForumTopic", "createInvoiceLink",
    "createNewStickerSet", "declineChatJoinRequest", "declineSuggestedPost", "deleteAllMessageReactions",
    "deleteBusinessMessages", "deleteChatPhoto", "deleteChatStickerSet", "deleteEphemeralMessage",
    "deleteForumTopic", "deleteMessage", "deleteMessageReaction", "deleteMessages", "deleteMyCommands",
    "deleteStickerFromSet", "deleteStickerSet", "deleteStory", "deleteWebhook", "editChatInviteLink",
    "editChatSubscriptionInviteLink", "editEphemeralMessageCaption", "editEphemeralMessageMedia",
    "editEphemeralMessageReplyMarkup", "editEphemeralMessageText", "editForumTopic", "editGeneralForumTopic",
    "editMessageCaption", "editMessageChecklist", "editMessageLiveLocation", "editMessageMedia",
    "editMessageReplyMarkup", "editMessageText", "editStory", "editUserStarSubscription",
    "exportChatInviteLink", "forwardMessage", "forwardMessages", "getAvailableGifts",
    "getBusinessAccountGifts", "getBusinessAccountStarBalance", "getBusinessConnection", "getChat",
    "getChatAdministrators", "getChatGifts", "getChatMember", "getChatMemberCount", "getChatMenuButton",
    "getCustomEmojiStickers", "getFile", "getForumTopicIconStickers", "getGameHighScores",
    "getManagedBotAccessSettings", "getManagedBotToken", "getMe", "getMyCommands",
    "getMyDefaultAdministratorRights", "getMyDescription", "getMyName", "getMyShortDescription",
    "getMyStarBalance", "getStarTransactions", "getStickerSet", "getUpdates", "getUserChatBoosts",
    "getUserGifts", "getUserPersonalChatMessages", "getUserProfileAudios", "getUserProfilePhotos",
    "getWebhookInfo", "giftPremiumSubscription", "hideGeneralForumTopic", "leaveChat", "logOut",
    "pinChatMessage", "postStory", "promoteChatMember", "readBusinessMessage", "refundStarPayment",
    "removeBusinessAccountProfilePhoto", "removeChatVerification", "removeMyProfilePhoto",
    "removeUserVerification", "reopenForumTopic", "reopenGeneralForumTopic", "replaceManagedBotToken",
    "replaceStickerInSet", "repostStory", "restrictChatMember", "revokeChatInviteLink",
    "savePreparedInlineMessage", "savePreparedKeyboardButton", "sendAnimation", "sendAudio", "sendChatAction",
    "sendChatJoinRequestWebApp", "sendChecklist", "sendContact", "sendDice", "sendDocument", "sendGame",
    "sendGift", "sendInvoice", "sendLivePhoto", "sendLocation", "sendMediaGroup", "sendMessage",
    "sendMessageDraft", "sendPaidMedia", "sendPhoto", "sendPoll", "sendRichMessage", "sendRichMessageDraft",
    "sendSticker", "sendVenue", "sendVideo", "sendVideoNote", "sendVoice", "setBusinessAccountBio",
    "setBusinessAccountGiftSettings", "setBusinessAccountName", "setBusinessAccountProfilePhoto",
    "setBusinessAccountUsername", "setChatAdministratorCustomTitle", "setChatDescription", "setChatMemberTag",
    "setChatMenuButton", "setChatPermissions", "setChatPhoto", "setChatStickerSet", "setChatTitle",
    "setCustomEmojiStickerSetThumbnail", "setGameScore", "setManagedBotAccessSettings", "setMessageReaction",
    "setMyCommands", "setMyDefaultAdministratorRights", "setMyDescription", "setMyName", "setMyProfilePhoto",
    "setMyShortDescription", "setPassportDataErrors", "setStickerEmojiList", "setStickerKeywords",
    "setStickerMaskPosition", "setStickerPositionInSet", "setStickerSetThumbnail", "setStickerSetTitle",
    "setUserEmojiStatus", "setWebhook", "stopMessageLiveLocation", "stopPoll", "transferBusinessAccountStars",
    "transferGift", "unbanChatMember", "unbanChatSenderChat", "unhideGeneralForumTopic",
    "unpinAllChatMessages", "unpinAllForumTopicMessages", "unpinAllGeneralForumTopicMessages",
    "unpinChatMessage", "upgradeGift", "uploadStickerFile", "verifyChat", "verifyUser",
];

/// Those that return something else, and are not simulated.
#[rustfmt::skip]
const SAY_MORE: &[&str] = &[
    "answerGuestQuery", "answerWebAppQuery", "createChatInviteLink", "createChatSubscriptionInviteLink",
    "createForumTopic", "createInvoiceLink", "editChatInviteLink", "editChatSubscriptionInviteLink",
    "editMessageChecklist", "editMessageLiveLocation", "editStory", "exportChatInviteLink",
    "getAvailableGifts", "getBusinessAccountGifts", "getBusinessAccountStarBalance", "getBusinessConnection",
    "getChatAdministrators", "getChatGifts", "getChatMember", "getChatMemberCount", "getChatMenuButton",
    "getCustomEmojiStickers", "getForumTopicIconStickers", "getGameHighScores", "getManagedBotAccessSettings",
    "getManagedBotToken", "getMyDefaultAdministratorRights", "getMyStarBalance", "getStarTransactions",
    "getStickerSet", "getUserChatBoosts", "getUserGifts", "getUserPersonalChatMessages",
    "getUserProfileAudios", "getUserProfilePhotos", "postStory", "replaceManagedBotToken", "repostStory",
    "revokeChatInviteLink", "savePreparedInlineMessage", "savePreparedKeyboardButton", "sendChecklist",
    "sendGame", "sendInvoice", "sendLivePhoto", "sendPaidMedia", "sendRichMessage", "setGameScore",
    "stopMessageLiveLocation", "stopPoll", "uploadStickerFile",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_others_are_unknown() {
        assert_eq!(method("SENDMESSAGE"), Some("sendMessage"));
        assert_eq!(method("sendMessages"), None);
    }

    #[test]
    fn those_that_say_more_than_true_are_known() {
        assert!(SAY_MORE.iter().all(|name| method(name) == Some(name)));
    }
}
