use super::*;

impl Gate {
    /// The same state in shadow mode.
    pub(crate) fn in_shadow(&mut self) {
        self.settings.mode = Mode::Shadow;
    }
}
