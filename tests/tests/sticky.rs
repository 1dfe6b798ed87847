//! Contract 4, `sticky`: a service that asks for it gets a user's free texts in this chat for a while, after
//! commands and before text patterns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use harness::{Answer, FakeService, Update, World, WorldBuilder, over_both_worlds, pause};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

over_both_worlds!(
    free_texts_go_to_the_sticky_service_after_commands_and_before_patterns,
    it_is_one_users_in_one_chat,
    it_ends_by_its_time_and_when_a_service_says_so,
    it_outlives_the_process_that_kept_it,
    a_text_that_no_route_takes_goes_there_too_and_is_charged,
    a_service_that_is_not_set_up_is_left_out_and_told,
);

/// A command and a pattern beside the conversation, and a quiz that only `sticky` leads to.
const ROUTES: &str = r#"
[services.quiz]
url = "${QUIZ_URL}"

[[routes]]
command = "/help"
service = "user_profile"

[[routes]]
callback = "QUIZ"
service = "matching"

[[routes]]
text = "(?i)weather"
reply = "sunny"

[[routes]]
text = true
chat = "private"
service = "conversation"
"#;

struct Quiz {
    world: World,
    quiz: FakeService,
    _file: NamedTempFile,
}

impl Quiz {
    async fn start(world: WorldBuilder) -> Self {
        let (quiz, file) = (FakeService::start().await, NamedTempFile::new().unwrap());
        quiz.answer(Answer::text("quiz"));
        std::fs::write(file.path(), ROUTES).unwrap();
        let world = world.set("ROUTES_FILE", file.path().display()).set("QUIZ_URL", quiz.url()).await;
        world.conversation.answer(Answer::text("conversation"));
        Self { world, quiz, _file: file }
    }

    /// What the chat reads after this update.
    async fn says(&self, chat: i64, update: Update) -> String {
        let before = self.world.telegram.texts(chat).len();
        self.world.accept(&update).await;
        self.world.telegram.wait_texts(chat, before + 1).await.remove(before)
    }

    /// The conversation hands this user's free texts over to the quiz.
    async fn begin(&self, user: i64, seconds: u64) {
        self.world.conversation.answer_first([hand_over(json!({"service": "quiz", "seconds": seconds}))]);
        assert_eq!(self.says(user, Update::text(user, "let us play")).await, "handed over");
    }
}

fn hand_over(sticky: Value) -> Answer {
    Answer::Json(json!({"type": "text", "content": "handed over", "sticky": sticky}))
}

fn in_group(user: i64, group: i64, text: &str) -> Update {
    Update::text(user, text).set("/message/chat", json!({"id": group, "type": "supergroup", "title": "t"}))
}

async fn free_texts_go_to_the_sticky_service_after_commands_and_before_patterns(world: WorldBuilder) {
    let quiz = Quiz::start(world).await;
    let user = quiz.world.user();
    assert_eq!(quiz.says(user, Update::text(user, "weather?")).await, "sunny");
    quiz.begin(user, 60).await;
    assert_eq!(quiz.says(user, Update::text(user, "forty-two")).await, "quiz");
    assert_eq!(quiz.says(user, Update::text(user, "weather?")).await, "quiz");
    // A command that no route names is a text.
    assert_eq!(quiz.says(user, Update::command(user, "/shrug")).await, "quiz");
    assert_eq!(quiz.says(user, Update::command(user, "/help")).await, "ok");

    // The quiz is asked as a service of one's own is.
    let body = quiz.quiz.bodies().remove(0);
    let expected = json!({"user_id": format!("user_{user}"), "telegram_user_id": user, "chat_id": user,
                          "kind": "message", "request_id": body["request_id"], "message": "forty-two"});
    assert_eq!(body, expected);
    quiz.world.worker().wait_log("the route's name", |line| line["route"] == "sticky").await;
}

async fn it_is_one_users_in_one_chat(world: WorldBuilder) {
    let quiz = Quiz::start(world).await;
    let (user, other) = (quiz.world.user(), quiz.world.user());
    quiz.begin(user, 60).await;
    assert_eq!(quiz.says(other, Update::text(other, "hello")).await, "conversation");
    let group = -1_000_000_000_000 - user;
    assert_eq!(quiz.says(group, in_group(user, group, "weather")).await, "sunny");
    assert_eq!(quiz.says(user, Update::text(user, "hello")).await, "quiz");
}

async fn it_ends_by_its_time_and_when_a_service_says_so(world: WorldBuilder) {
    let quiz = Quiz::start(world).await;
    let user = quiz.world.user();
    quiz.begin(user, 3).await;
    assert_eq!(quiz.says(user, Update::text(user, "one")).await, "quiz");
    pause(Duration::from_millis(3500)).await;
    assert_eq!(quiz.says(user, Update::text(user, "two")).await, "conversation");

    quiz.begin(user, 60).await;
    // A service that says nothing of it leaves it alone; null ends it, whoever says that.
    assert_eq!(quiz.says(user, Update::text(user, "three")).await, "quiz");
    quiz.world.matching.answer_first([hand_over(Value::Null)]);
    assert_eq!(quiz.says(user, Update::callback(user, "QUIZ:end")).await, "handed over");
    assert_eq!(quiz.says(user, Update::text(user, "four")).await, "conversation");
}

async fn it_outlives_the_process_that_kept_it(world: WorldBuilder) {
    let mut quiz = Quiz::start(world).await;
    let user = quiz.world.user();
    quiz.begin(user, 600).await;
    quiz.world.worker_mut().kill9();
    let _another = if quiz.world.is_embedded() {
        quiz.world.ingress.start_again();
        quiz.world.ingress.wait_ready().await;
        None
    } else {
        Some(quiz.world.add_worker().await)
    };
    quiz.world.accept(&Update::text(user, "still there?")).await;
    // Not by what the chat reads next: the kill may have come before the hand-over's record, and then it is said again.
    assert_eq!(quiz.quiz.wait_for(1).await[0].body()["message"], "still there?");
}

async fn a_text_that_no_route_takes_goes_there_too_and_is_charged(world: WorldBuilder) {
    let quiz = Quiz::start(world.set("RATE_LIMIT_REQUESTS", 2).set("RATE_LIMIT_WINDOW", 600)).await;
    let user = quiz.world.user();
    let group = -1_000_000_000_000 - user;
    // No route takes these, so they cost nothing and get nothing; no service gets another bot's command.
    for _ in 0..3 {
        quiz.world.accept(&in_group(user, group, "chatter")).await;
    }
    let button = Update::callback(user, "QUIZ:begin")
        .set("/callback_query/message/chat", json!({"id": group, "type": "supergroup", "title": "t"}));
    quiz.world.matching.answer_first([hand_over(json!({"service": "quiz", "seconds": 60}))]);
    assert_eq!(quiz.says(group, button).await, "handed over");
    quiz.world.accept(&in_group(user, group, "/start@another_bot")).await;
    assert_eq!(quiz.says(group, in_group(user, group, "forty-two")).await, "quiz");
    let notice = quiz.says(group, in_group(user, group, "forty-three")).await;
    assert!(notice.starts_with("You're sending messages too fast"), "{notice}");
}

async fn a_service_that_is_not_set_up_is_left_out_and_told(world: WorldBuilder) {
    // No row of the table names this built-in one, so it needs no address, and has none here.
    let quiz = Quiz::start(world.set("NOTIFICATION_SERVICE_URL", "")).await;
    let user = quiz.world.user();
    for service in ["quizz", "notification"] {
        quiz.world.conversation.answer_first([hand_over(json!({"service": service, "seconds": 60}))]);
        assert_eq!(quiz.says(user, Update::text(user, "let us play")).await, "handed over");
        let told = |line: &Value| line["level"] == "WARN" && line["named"] == service;
        quiz.world.worker().wait_log("the unknown service", told).await;
        assert_eq!(quiz.says(user, Update::text(user, "hello")).await, "conversation");
    }
}
