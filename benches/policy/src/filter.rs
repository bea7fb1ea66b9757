//! The same as a filter: the plugin's configuration is the case, and each request is answered with one round.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::round::Case;

#[derive(Default)]
struct Root {
    case: Rc<Case>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let Some(bytes) = self.get_plugin_configuration() else { return false };
        let Ok(case) = postcard::from_bytes(&bytes) else { return false };
        self.case = Rc::new(case);
        true
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Asked { case: Rc::clone(&self.case) }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Asked {
    case: Rc<Case>,
}

impl Context for Asked {}

impl HttpContext for Asked {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let said = serde_json::to_vec(&self.case.round()).unwrap_or_default();
        self.send_http_response(200, Vec::new(), Some(&said));
        Action::Pause
    }
}

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::<Root>::default());
}}
