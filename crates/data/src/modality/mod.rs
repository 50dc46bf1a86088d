//! The modality registry: one file per modality, one line here.
