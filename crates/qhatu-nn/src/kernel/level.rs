//! Which instructions the processor has, found out once when the program runs, so that one binary
//! serves old and new machines.
//!
//! A kernel is written once, as a plain loop that the compiler can vectorize, and compiled three times
//! by [`dispatched`]: with AVX-512, with AVX2 and FMA, and for any processor.

use std::sync::OnceLock;

/// A set of instructions, from the most portable up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What every processor has.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

/// The best level of this processor.
pub(crate) fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(detect)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let wide = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (fma, wide) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        _ => Level::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Portable
}

/// The levels of this processor, for tests that hold each against the portable one.
#[cfg(test)]
pub(crate) fn levels() -> Vec<Level> {
    [Level::Portable, Level::Avx2, Level::Avx512].into_iter().filter(|one| *one <= level()).collect()
}

/// Writes `pub(crate) fn NAME(level, …)`, which runs `BODY::<FMA>(…)` as compiled for `level`.
macro_rules! dispatched {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $answer:ty)? = $body:ident) => {
        $(#[$doc])*
        pub(crate) fn $name(level: crate::kernel::level::Level, $($arg: $type),*) $(-> $answer)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn wide($($arg: $type),*) $(-> $answer)? {
                    $body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn narrow($($arg: $type),*) $(-> $answer)? {
                    $body::<true>($($arg),*)
                }
                // A level comes from `level()` or lies below it.
                debug_assert!(level <= crate::kernel::level::level());
                match level {
                    // SAFETY: the processor has these instructions, as `level()` found.
                    crate::kernel::level::Level::Avx512 => return unsafe { wide($($arg),*) },
                    // SAFETY: as above.
                    crate::kernel::level::Level::Avx2 => return unsafe { narrow($($arg),*) },
                    crate::kernel::level::Level::Portable => {}
                }
            }
            $body::<false>($($arg),*)
        }
    };
}

pub(crate) use dispatched;
