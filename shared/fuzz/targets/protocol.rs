//! Any text as a browser's message: a request or a named error, and an `id` that was read is short.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::protocol::{REQUEST_ID_LEN_MAX, Request, RequestId};

fuzz_target!(|text: &str| {
    let id = match Request::decode(text) {
        Ok(request) => {
            assert_eq!(Request::decode(text), Ok(request.clone()));
            request.id
        }
        Err(error) => {
            assert!(!error.message.is_empty());
            assert!(
                error.message.len() < 4096,
                "an answer is no longer than what it answers may be"
            );
            serde_json::to_string(&error.code).expect("codes are text");
            error.id
        }
    };
    if let Some(RequestId::Text(text)) = id {
        assert!(text.len() <= REQUEST_ID_LEN_MAX);
    }
});
