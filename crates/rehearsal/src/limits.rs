//! How large a launch may be.

use viewmaker_device::Launch;

use crate::errors::{Answer, CUresult, complain};

/// Dynamic shared memory of a block without asking.
pub(crate) const FREE_SHARED: usize = 48 << 10;

/// Dynamic shared memory of a block at most, by the card's generation (CUDA C++ Programming Guide, technical
/// specifications per compute capability).
pub(crate) fn most_shared(capability: (i32, i32)) -> usize {
    let kibibytes = match capability {
        (7, 5) => 64,
        (..8, _) => 96,
        (8, 0 | 7) => 163,
        (8, _) | (12.., _) => 99,
        _ => 227,
    };
    kibibytes << 10
}

/// Threads of a block that a card starts, where a kernel says nothing else.
const MOST_THREADS: u64 = 1024;

/// Whether a card starts a kernel like this: with `shared` bytes of dynamic shared memory allowed, and as
/// many threads as its launch bounds name.
pub(crate) fn check(launch: &Launch, shared: usize, bounds: Option<u64>) -> Answer {
    let threads: u64 = launch.block.iter().map(|&n| u64::from(n)).product();
    let most_threads = bounds.unwrap_or(MOST_THREADS).min(MOST_THREADS);
    let most = [i32::MAX as u32, 65_535, 65_535];
    let grid = launch.grid.iter().zip(most);
    let fits = (1..=most_threads).contains(&threads)
        && launch.block[2] <= 64
        && grid.into_iter().all(|(&n, most)| (1..=most).contains(&n))
        && launch.shared_bytes as usize <= shared;
    if fits {
        return Ok(());
    }
    complain(&format!(
        "no card starts {launch:?} with up to {most_threads} threads and {shared} bytes"
    ));
    Err(CUresult::CUDA_ERROR_INVALID_VALUE)
}

/// The threads in the launch bounds of the kernel `name`, if it has any that are a product of numbers and
/// of constants of the source.
pub(crate) fn bounds(text: &str, name: &str) -> Option<u64> {
    let declarations = text.split("extern \"C\" __global__ void").skip(1);
    let mut bounded = declarations.filter_map(|d| {
        let (inside, rest) = d
            .trim_start()
            .strip_prefix("__launch_bounds__(")?
            .split_once(')')?;
        (rest.split_once('(')?.0.trim() == name).then_some(inside)
    });
    let threads = bounded.next()?.split(',').next()?;
    let factors = threads.split('*').map(|f| value(text, f.trim()));
    factors.product()
}

/// A number, or the constant of that name, of a namespace where one stands before it.
fn value(text: &str, factor: &str) -> Option<u64> {
    if let Ok(number) = factor.parse() {
        return Some(number);
    }
    if let Some((space, name)) = factor.split_once("::") {
        return value(text.split_once(&format!("namespace {space} {{"))?.1, name);
    }
    let start = format!("constexpr int {factor} = ");
    let definition = text.lines().find_map(|line| line.strip_prefix(&start))?;
    definition.split_once(';')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use viewmaker_device::source::SOURCES;

    #[test]
    fn launch_bounds_of_all_kernels_are_understood() {
        let mut count = 0;
        for source in SOURCES {
            let text = source.flat();
            let known = source
                .functions()
                .into_iter()
                .filter_map(|f| bounds(&text, f));
            let known: Vec<u64> = known.collect();
            assert_eq!(
                known.len(),
                source.text.matches("__launch_bounds__(").count(),
                "{}",
                source.name
            );
            assert!(known.iter().all(|n| n % 32 == 0 && *n <= 1024), "{known:?}");
            count += known.len();
        }
        assert!(count > 0);
        let text = "constexpr int SIDE = 6; // of a tile\nnamespace v3 {\nconstexpr int SIDE = 9;\n}\n\
                    extern \"C\" __global__ void __launch_bounds__(SIDE * 7, 2)\n    some(int a) {}\n\
                    extern \"C\" __global__ void __launch_bounds__(v3::SIDE) third() {}\n\
                    extern \"C\" __global__ void other() {}";
        assert_eq!(
            ["some", "third", "other"].map(|name| bounds(text, name)),
            [Some(42), Some(9), None]
        );
    }
}
