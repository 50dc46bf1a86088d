//! Parity of the spectrograms and expert augmentations with the authors' code.

mod sensor;
mod speech;
