//! What must hold before an append is answered.

/// How much has to be lost at once before something acknowledged is lost. `docs/durability.md` says what each survives and costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ack {
    /// It is in the memory of the primary (which may write it to disk a little later); in one process, it is handed to the kernel.
    #[default]
    Memory,
    /// A replica has it too.
    Replica,
    /// It is on the disk of the primary, or of the process' machine.
    Fsync,
}
