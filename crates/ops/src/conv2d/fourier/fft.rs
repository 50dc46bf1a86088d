//! The discrete Fourier transform of real tiles of 16 × 16, for a register of channels at once.
//!
//! `Z[u] = Σ z[n] e^{−2πi·un/16}`. A real signal of a pair rides in the imaginary part of the other,
//! in both directions: `Z[k] = A[k] + i·B[k]` with Hermitian `A` and `B`. So all work is done by one
//! complex transform of 16 numbers, as 4 × 4 (Cooley & Tukey 1965).

#![expect(
    clippy::needless_range_loop,
    reason = "iterators over arrays are not always inlined, and only what is inlined is compiled \
              for the instruction set of the caller"
)]

use super::super::lanes::Lanes;
use pulp::Simd;

/// Rows and columns of a tile.
pub(super) const SIZE: usize = 16;
/// Columns of the spectrum of a real tile that are not determined by the other ones.
const HALF: usize = SIZE / 2 + 1;
/// Complex values that determine the spectrum of a real tile: rows 0–8 of columns 0 and 8, and all
/// rows of columns 1–7.
pub(super) const FREQUENCIES: usize = 2 * HALF + (HALF - 2) * SIZE;

/// `cos` and `sin` of 2π/16 and 3 · 2π/16, and of 2 · 2π/16.
const C1: f32 = 0.923_879_5;
const S1: f32 = 0.382_683_43;
const R: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// A complex number per channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Complex<S: Simd> {
    pub(super) re: Lanes<S>,
    pub(super) im: Lanes<S>,
}

impl<S: Simd> Complex<S> {
    #[inline(always)]
    fn zero(simd: S) -> Self {
        let zero = Lanes::zero(simd);
        Self { re: zero, im: zero }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self {
            re: self.re + other.re,
            im: self.im + other.im,
        }
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self {
            re: self.re - other.re,
            im: self.im - other.im,
        }
    }

    /// `−i ·` this.
    #[inline(always)]
    fn turned(self) -> Self {
        Self {
            re: self.im,
            im: -self.re,
        }
    }

    #[inline(always)]
    fn conjugate(self) -> Self {
        Self {
            re: self.re,
            im: -self.im,
        }
    }

    /// This times `c − i·s`.
    #[inline(always)]
    fn twiddled(self, c: f32, s: f32) -> Self {
        Self {
            re: self.re * c + self.im * s,
            im: self.im * c - self.re * s,
        }
    }

    /// Real and imaginary part exchanged: the forward transform of exchanged numbers is the
    /// exchanged inverse transform, but for its scale.
    #[inline(always)]
    fn exchanged(self) -> Self {
        Self {
            re: self.im,
            im: self.re,
        }
    }

    #[inline(always)]
    fn scaled(self, factor: f32) -> Self {
        Self {
            re: self.re * factor,
            im: self.im * factor,
        }
    }
}

#[inline(always)]
fn four<S: Simd>(x: [Complex<S>; 4]) -> [Complex<S>; 4] {
    let (a, b) = (x[0].add(x[2]), x[0].sub(x[2]));
    let (c, d) = (x[1].add(x[3]), x[1].sub(x[3]).turned());
    [a.add(c), b.add(d), a.sub(c), b.sub(d)]
}

/// The transform of 16 complex numbers.
#[inline(always)]
fn sixteen<S: Simd>(x: [Complex<S>; SIZE]) -> [Complex<S>; SIZE] {
    let mut y = [[x[0]; 4]; 4];
    for n in 0..4 {
        y[n] = four([x[n], x[n + 4], x[n + 8], x[n + 12]]);
    }
    // y[n][k] still lacks the factor e^{−2πi·nk/16}.
    y[1][1] = y[1][1].twiddled(C1, S1);
    y[1][2] = y[1][2].twiddled(R, R);
    y[1][3] = y[1][3].twiddled(S1, C1);
    y[2][1] = y[2][1].twiddled(R, R);
    y[2][2] = y[2][2].turned();
    y[2][3] = y[2][3].twiddled(-R, R);
    y[3][1] = y[3][1].twiddled(S1, C1);
    y[3][2] = y[3][2].twiddled(-R, R);
    y[3][3] = y[3][3].twiddled(-C1, -S1);
    let mut out = x;
    for k in 0..4 {
        let z = four([y[0][k], y[1][k], y[2][k], y[3][k]]);
        for j in 0..4 {
            out[k + 4 * j] = z[j];
        }
    }
    out
}

/// The inverse of [`sixteen`], times 16.
#[inline(always)]
fn inverse_sixteen<S: Simd>(x: [Complex<S>; SIZE]) -> [Complex<S>; SIZE] {
    let mut turned = x;
    for n in 0..SIZE {
        turned[n] = x[n].exchanged();
    }
    let z = sixteen(turned);
    for n in 0..SIZE {
        turned[n] = z[n].exchanged();
    }
    turned
}

/// Splits the transform of `a + i·b`, both real, into the first nine values of either.
#[inline(always)]
fn split<S: Simd>(z: [Complex<S>; SIZE]) -> [[Complex<S>; HALF]; 2] {
    let mut parts = [[z[0]; HALF]; 2];
    for k in 0..HALF {
        let (here, there) = (z[k], z[(SIZE - k) % SIZE].conjugate());
        parts[0][k] = here.add(there).scaled(0.5);
        parts[1][k] = here.sub(there).turned().scaled(0.5);
    }
    parts
}

/// The transform of `a + i·b` from the first nine values of either: the inverse of [`split`].
#[inline(always)]
fn join<S: Simd>(a: [Complex<S>; HALF], b: [Complex<S>; HALF]) -> [Complex<S>; SIZE] {
    let mut z = [a[0]; SIZE];
    for k in 0..HALF {
        z[k] = a[k].sub(b[k].turned());
    }
    for k in 1..HALF - 1 {
        z[SIZE - k] = a[k].conjugate().sub(b[k].conjugate().turned());
    }
    z
}

/// What transforms keep between rows and columns: columns 0–8. Callers keep it, because clearing it
/// takes as long as a good part of a transform.
pub(super) type Columns<S> = [[Complex<S>; SIZE]; HALF];

/// Columns of zeros.
#[inline(always)]
pub(super) fn columns<S: Simd>(simd: S) -> Columns<S> {
    [[Complex::zero(simd); SIZE]; HALF]
}

/// The spectrum of a real tile of which only the first `rows` (an even number) are not zero.
/// The other rows of `columns` hold zeros.
#[inline(always)]
pub(super) fn spectrum<S: Simd>(
    simd: S,
    rows: usize,
    columns: &mut Columns<S>,
    tile: &impl Tile<S>,
    to: &mut impl Spectrum<S>,
) {
    for y in (0..rows).step_by(2) {
        let mut z = [Complex::zero(simd); SIZE];
        for x in 0..SIZE {
            z[x].re = tile.read(simd, y, x);
            z[x].im = tile.read(simd, y + 1, x);
        }
        let [a, b] = split(sixteen(z));
        for k in 0..HALF {
            columns[k][y] = a[k];
            columns[k][y + 1] = b[k];
        }
    }
    // Columns 0 and 8 are real.
    let mut z = [Complex::zero(simd); SIZE];
    for y in 0..SIZE {
        z[y].re = columns[0][y].re;
        z[y].im = columns[HALF - 1][y].re;
    }
    let [a, b] = split(sixteen(z));
    for u in 0..HALF {
        to.write(u, a[u]);
        to.write(HALF + u, b[u]);
    }
    for k in 1..HALF - 1 {
        let z = sixteen(columns[k]);
        for u in 0..SIZE {
            to.write(2 * HALF + (k - 1) * SIZE + u, z[u]);
        }
    }
}

/// The first `rows` (an even number) of the real tile with a spectrum.
#[inline(always)]
pub(super) fn tile<S: Simd>(
    simd: S,
    rows: usize,
    columns: &mut Columns<S>,
    from: &impl Frequencies<S>,
    to: &mut impl Pixels<S>,
) {
    const SCALE: f32 = 1.0 / (SIZE * SIZE) as f32;
    let (mut a, mut b) = ([Complex::zero(simd); HALF], [Complex::zero(simd); HALF]);
    for u in 0..HALF {
        a[u] = from.read(simd, u);
        b[u] = from.read(simd, HALF + u);
    }
    let z = inverse_sixteen(join(a, b));
    for y in 0..SIZE {
        columns[0][y].re = z[y].re;
        columns[HALF - 1][y].re = z[y].im;
    }
    for k in 1..HALF - 1 {
        let mut z = [Complex::zero(simd); SIZE];
        for u in 0..SIZE {
            z[u] = from.read(simd, 2 * HALF + (k - 1) * SIZE + u);
        }
        columns[k] = inverse_sixteen(z);
    }
    for y in (0..rows).step_by(2) {
        let (mut a, mut b) = ([Complex::zero(simd); HALF], [Complex::zero(simd); HALF]);
        for k in 0..HALF {
            a[k] = columns[k][y];
            b[k] = columns[k][y + 1];
        }
        let z = inverse_sixteen(join(a, b));
        for x in 0..SIZE {
            to.write(simd, y, x, z[x].re * SCALE);
            to.write(simd, y + 1, x, z[x].im * SCALE);
        }
    }
}

/// Where the pixels of a tile come from.
pub(super) trait Tile<S: Simd> {
    /// The channels of one pixel.
    fn read(&self, simd: S, y: usize, x: usize) -> Lanes<S>;
}

/// Where the pixels of a tile go.
pub(super) trait Pixels<S: Simd> {
    /// Takes the channels of one pixel.
    fn write(&mut self, simd: S, y: usize, x: usize, value: Lanes<S>);
}

/// Where a spectrum goes.
pub(super) trait Spectrum<S: Simd> {
    /// Takes one of [`FREQUENCIES`].
    fn write(&mut self, frequency: usize, value: Complex<S>);
}

/// Where a spectrum comes from.
pub(super) trait Frequencies<S: Simd> {
    /// One of [`FREQUENCIES`].
    fn read(&self, simd: S, frequency: usize) -> Complex<S>;
}
