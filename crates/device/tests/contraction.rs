//! Products and sums in one operation, as cards have them, and where a kernel forbids it.

use viewmaker_device::{Args, Device, Kernel, Launch, Source};

static CONTRACTION: Source = Source {
    name: "contraction.cu",
    text: "extern \"C\" __global__ void difference(const float* x, float* out) { out[0] = x[0] * x[1] - x[2]; }
extern \"C\" __global__ void difference_of_rounded(const float* x, float* out) {
    out[0] = __fmul_rn(x[0], x[1]) - x[2];
}
",
};

fn result(device: &Device, function: &'static str, x: [f32; 3]) -> f32 {
    let input = device.alloc(3).unwrap().all();
    let out = device.alloc(1).unwrap().all();
    device.upload(&input, &x).unwrap();
    let kernel = Kernel::new(&CONTRACTION, function);
    let args = Args::new().span(&input).span(&out);
    // SAFETY: the kernels read three words and write one.
    unsafe { device.launch(&kernel, Launch::linear(1, 1), args) }.unwrap();
    let mut found = [f32::NAN];
    device.download(&out, &mut found).unwrap();
    found[0]
}

#[test]
fn cuda_products_are_fused_unless_a_kernel_rounds_them() {
    // (1 + 2⁻¹²)² is 1 + 2⁻¹¹ + 2⁻²⁴, whose last term a product loses.
    let side = 1.0 + 2f32.powi(-12);
    let x = [side, side, side * side];
    let lost = 2f32.powi(-24);
    let found = [
        ("emulator", Device::emulated(), 0.0),
        ("contracting emulator", Device::contracted(), lost),
        ("CUDA", Device::cuda(0), lost),
    ];
    for (name, device, want) in found {
        match device {
            Ok(device) => {
                assert_eq!(result(&device, "difference", x), want, "{name}");
                assert_eq!(result(&device, "difference_of_rounded", x), 0.0, "{name}");
            }
            Err(reason) => println!("skipped on {name}: {reason}"),
        }
    }
}
