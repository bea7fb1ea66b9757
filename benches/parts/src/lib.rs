//! One thing of what the gate does, alone, in a real Envoy: a host call at each request, or the engine's
//! look-ups in a loop when it is configured. The plugin's configuration names it.
#![cfg(target_arch = "wasm32")]

mod look_ups;
mod part;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use part::Part;

struct Root {
    part: Part,
}

impl Context for Root {}

impl RootContext for Root {
    /// An unknown part is no benchmark: Envoy refuses the configuration.
    fn on_configure(&mut self, _: usize) -> bool {
        let Some(name) = self.get_plugin_configuration() else { return false };
        if name == b"look_ups" {
            return look_ups::measure().is_some();
        }
        let Some(part) = Part::named(&name) else { return false };
        self.part = part;
        true
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Request { part: self.part.clone() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Request {
    part: Part,
}

impl Context for Request {}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _: usize, ends: bool) -> Action {
        self.part.at_request();
        self.part.after_headers(ends)
    }

    fn on_http_request_body(&mut self, size: usize, ends: bool) -> Action {
        self.part.at_body(size, ends)
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.part.at_response();
        Action::Continue
    }
}

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root { part: Part::Nothing }));
}}
