//! What the gateway is to a server: it tells the folders that agents work in, and offers neither
//! its models nor its people.

#![expect(deprecated, reason = "servers of today ask for roots, and for models")]

use std::future::ready;
use std::sync::Arc;

use rmcp::ClientHandler;
use rmcp::model::{
    ClientCapabilities, ClientConfig, CreateMessageRequestParams, CreateMessageResult, ErrorCode,
    ErrorData, Implementation, ListRootsResult, Root, RootsCapabilities,
};
use rmcp::service::{MaybeSendFuture, NotificationContext, RequestContext, RoleClient};
use tokio::sync::Notify;

/// Our end of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    roots: Vec<String>,
    changed: Arc<Notify>,
}

impl Host {
    /// `roots` are URIs of folders.
    pub(crate) fn new(roots: &[String]) -> Host {
        Host { roots: roots.to_vec(), changed: Arc::default() }
    }

    /// Rings when the server says that it has other tools now.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }
}

impl ClientHandler for Host {
    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::default();
        capabilities.roots = Some(RootsCapabilities::default());
        ClientConfig::new(capabilities, Implementation::new("windlass", env!("CARGO_PKG_VERSION")))
    }

    fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> impl Future<Output = Result<ListRootsResult, ErrorData>> + MaybeSendFuture + '_ {
        let roots = self.roots.iter().map(|uri| Root::new(uri.clone()));
        ready(Ok(ListRootsResult::new(roots.collect())))
    }

    fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> impl Future<Output = Result<CreateMessageResult, ErrorData>> + MaybeSendFuture + '_ {
        let why = "this gateway does not lend its models to tool servers";
        ready(Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, why, None)))
    }

    fn on_tool_list_changed(
        &self,
        _: NotificationContext<RoleClient>,
    ) -> impl Future<Output = ()> + MaybeSendFuture + '_ {
        self.changed.notify_one();
        ready(())
    }
}
