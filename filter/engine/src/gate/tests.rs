use super::*;

impl Gate {
    /// The same state in shadow mode.
    pub(crate) fn in_shadow(&mut self) {
        self.settings.mode = Mode::Shadow;
    }

    /// Starts with tables that the first list of issuer keys can take over.
    pub(crate) fn prime(&mut self, tables: Keyring) {
        self.keyring = tables;
    }
}
