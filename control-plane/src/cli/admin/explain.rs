//! `gatepass explain --host .. --path ..`: a running control plane says what a gate would decide.

use axum::http::Method;
use gatepass::explain::{Asked as Question, Explanation};

use super::Server;
use super::commands::ExplainArgs;
use super::request::Asked;
use crate::cli::Outcome;
use crate::cli::explain::{exit_code, print};

impl Server {
    /// Success when the request would go on; 2 when it would be denied.
    pub(super) async fn explain(&self, args: &ExplainArgs) -> Outcome {
        let question = Question::of(&args.request.sent()?, args.audience.as_deref())?;
        let asked = Asked {
            method: Method::POST,
            path: "/v1/explain".to_owned(),
            body: Some(serde_json::to_value(&question)?),
            secret: None,
        };
        let answer = self.send(&asked).await?;
        let explanation: Explanation = serde_json::from_value(answer.clone())?;
        match self.json {
            true => println!("{answer:#}"),
            false => print(&explanation, &mut std::io::stdout().lock())?,
        }
        Ok(exit_code(&explanation))
    }
}
