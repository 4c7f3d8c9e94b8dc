//! A tool of a server, as the runtime calls it.

use std::sync::Arc;

use async_trait::async_trait;
use rmcp::model::JsonObject;
use tools::{Tool, ToolContext, ToolOutput};
use types::{EffectClass, ToolSpec};

use crate::result;
use crate::server::Server;
use crate::spec::Offer;

#[derive(Debug)]
pub(crate) struct McpTool {
    server: Arc<Server>,
    offer: Offer,
}

impl McpTool {
    pub(crate) fn new(server: Arc<Server>, offer: Offer) -> McpTool {
        McpTool { server, offer }
    }
}

#[async_trait]
impl Tool for McpTool {
    fn spec(&self) -> &ToolSpec {
        &self.offer.spec
    }

    fn effect(&self) -> EffectClass {
        self.offer.effect
    }

    fn groups(&self) -> Vec<String> {
        vec!["mcp".to_owned(), format!("mcp:{}", self.server.config.name)]
    }

    async fn call(&self, context: &ToolContext, arguments: &str) -> ToolOutput {
        let arguments = match arguments.trim() {
            "" => Ok(JsonObject::new()),
            text => serde_json::from_str::<JsonObject>(text),
        };
        let arguments = match arguments {
            Ok(arguments) => arguments,
            Err(error) => {
                let name = &self.offer.spec.name;
                let why = format!("the arguments of `{name}` must be a JSON object: {error}");
                return ToolOutput::error(why);
            }
        };
        match self.server.call(&self.offer.theirs, arguments, &context.cancel).await {
            Ok(result) => result::output(&result),
            Err(why) => ToolOutput::error(why),
        }
    }
}
