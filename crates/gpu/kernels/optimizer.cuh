// What an optimizer does with the parameters. The scalar twins are the update rules of the crate `optim`; results have
// the same bits, except where rows are centralised or the norm is limited: both sum in another order.

#ifndef HOST_SHIM
DEV float rounded_sum(float a, float b) { return __fadd_rn(a, b); }
DEV float rounded_product(float a, float b) { return __fmul_rn(a, b); }
#else
DEV float rounded_sum(float a, float b) { return a + b; }
DEV float rounded_product(float a, float b) { return a * b; }
#endif

// A number whose sums and products are each rounded. The compiler would make one operation of both.
struct Exact { float v; };
DEV Exact operator+(Exact a, Exact b) { return {rounded_sum(a.v, b.v)}; }
DEV Exact operator-(Exact a, Exact b) { return {rounded_sum(a.v, -b.v)}; }
DEV Exact operator*(Exact a, Exact b) { return {rounded_product(a.v, b.v)}; }
DEV Exact operator/(Exact a, Exact b) { return {a.v / b.v}; }
DEV Exact root(Exact a) { return {sqrtf(a.v)}; }
// The other number where one is NaN.
DEV Exact larger(Exact a, Exact b) { return {fmaxf(a.v, b.v)}; }

// average += weight * (values - average); the weight 1 copies.
struct Average {
    const float* values;
    float* average;
    unsigned long long count;
    float weight;
    int unused;
};

DEV void average_one(const Average& p) {
    size_t i = (size_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= p.count) return;
    Exact average = {p.average[i]}, value = {p.values[i]}, weight = {p.weight};
    p.average[i] = p.weight == 1.f ? value.v : (average + weight * (value - average)).v;
}

KERNEL(move_average, Average, 256, average_one(p))

// How a step changes a gradient before it uses it.
struct Change { float scale, limit, factor; };

DEV Exact changed(const Change& change, float gradient) {
    Exact g = Exact{gradient} * Exact{change.scale};
    return Exact{limited(g.v, -change.limit, change.limit)} * Exact{change.factor};
}

// out[block] = the sum of squares of a part of a changed gradient, and how many of its numbers are not finite.
struct GradientSize {
    const float* gradient;
    double* out; // [blocks, 2]
    unsigned long long count;
    Change change;
    int unused;
};

// The sum of a number of each of 256 threads, for all of them. `partial` is [256] of shared memory.
DEV double sum_of_threads(double own, double* partial) {
    __syncthreads();
    partial[threadIdx.x] = own;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
        __syncthreads();
    }
    return partial[0];
}

DEV void add_squares(const GradientSize& p) {
    __shared__ double partial[256];
    double squares = 0., infinite = 0.;
    for (size_t i = (size_t)blockIdx.x * 256 + threadIdx.x; i < p.count; i += (size_t)gridDim.x * 256) {
        float g = p.gradient[i];
        double v = changed(p.change, g).v;
        squares += v * v;
        if (!(fabsf(g) <= 3.4028234e38f)) infinite += 1.;
    }
    squares = sum_of_threads(squares, partial);
    infinite = sum_of_threads(infinite, partial);
    if (threadIdx.x == 0) {
        p.out[2 * blockIdx.x] = squares;
        p.out[2 * blockIdx.x + 1] = infinite;
    }
}

KERNEL(gradient_size, GradientSize, 256, add_squares(p))

// Parameters of one group. `row` is the length of rows whose gradients are centralised, or 0.
struct Stretch { u32 first, end, group, row; };

struct OptimizerStep {
    float* parameters;
    const float* gradient;
    float* first; // the rule's buffers
    float* second;
    float* third;
    const Stretch* stretches; // one a block
    const float* groups; // [groups, 12]: the rule and its coefficients
    Change change;
    int unused;
};

// Numbers of update rules and the order of their coefficients, as `RuleKind` of the crate `optim`.
enum { HOLD, ADAM, SGD, RMSPROP, LION, ADABELIEF, RANGER };

// One parameter's step.
DEV void step_one(const OptimizerStep& p, const float* group, u32 i, Exact g) {
    const Exact* k = (const Exact*)group + 1;
    Exact w = {p.parameters[i]};
    switch ((int)group[0]) {
    case ADAM:
    case ADABELIEF: {
        bool belief = (int)group[0] == ADABELIEF;
        Exact m = {p.first[i]}, v = {p.second[i]};
        g = g + k[0] * w;
        m = m + k[2] * (g - m);
        Exact r = belief ? g - m : g;
        v = v * k[3] + k[4] * r * r;
        if (belief) v = v + k[6];
        p.first[i] = m.v;
        p.second[i] = v.v;
        if (k[8].v != 0.f) {
            v = larger(Exact{p.third[i]}, v);
            p.third[i] = v.v;
        }
        if (!belief) {
            w = w * k[1] + k[7] * m / (root(v) / k[5] + k[6]);
        } else {
            Exact direction = k[9].v != 0.f ? m / (root(v) / k[5] + k[6]) : m;
            w = w * k[1] + k[7] * direction;
        }
        break;
    }
    case SGD: {
        g = g + k[0] * w;
        if (k[5].v != 0.f) {
            Exact b = Exact{p.first[i]} * k[1] + k[2] * g;
            p.first[i] = b.v;
            g = k[6].v != 0.f ? g + k[3] * b : b;
        }
        w = w + k[4] * g;
        break;
    }
    case RMSPROP: {
        bool momentum = k[6].v != 0.f, centered = k[7].v != 0.f;
        g = g + k[0] * w;
        Exact square = Exact{p.first[i]} * k[1] + k[2] * g * g;
        p.first[i] = square.v;
        if (centered) {
            float* means = momentum ? p.third : p.second;
            Exact mean = {means[i]};
            mean = mean + k[2] * (g - mean);
            means[i] = mean.v;
            square = square - mean * mean;
            if (square.v < 0.f) square.v = 0.f;
        }
        Exact divisor = root(square) + k[3];
        if (momentum) {
            Exact b = Exact{p.second[i]} * k[4] + g / divisor;
            p.second[i] = b.v;
            w = w + k[5] * b;
        } else {
            w = w + k[5] * g / divisor;
        }
        break;
    }
    case LION: {
        Exact m = {p.first[i]};
        float direction = (m + k[1] * (g - m)).v;
        p.first[i] = (m + k[2] * (g - m)).v;
        Exact sign = {direction > 0.f ? 1.f : direction < 0.f ? -1.f : direction};
        w = w * k[0] - k[3] * sign;
        break;
    }
    case RANGER: {
        Exact m = {p.first[i]}, v = {p.second[i]};
        if (k[7].v != 0.f) p.third[i] = w.v;
        m = m + k[1] * (g - m);
        v = v * k[2] + k[3] * g * g;
        p.first[i] = m.v;
        p.second[i] = v.v;
        Exact direction = k[6].v != 0.f ? m / (root(v) + k[4]) : m;
        w = w * k[0] + k[5] * direction;
        if (k[8].v != 0.f) {
            Exact slow = {p.third[i]};
            w = slow + k[9] * (w - slow);
            p.third[i] = w.v;
        }
        break;
    }
    }
    p.parameters[i] = w.v;
}

DEV void step_stretch(const OptimizerStep& p) {
    __shared__ double partial[256];
    Stretch s = p.stretches[blockIdx.x];
    const float* group = p.groups + s.group * 12;
    if ((int)group[0] == HOLD) return;
    u32 length = s.row ? s.row : s.end - s.first;
    for (u32 from = s.first; from < s.end; from += length) {
        u32 to = from + length;
        Exact mean = {0.f};
        if (s.row) {
            double own = 0.;
            for (u32 i = from + threadIdx.x; i < to; i += 256) own += changed(p.change, p.gradient[i]).v;
            mean.v = (float)(sum_of_threads(own, partial) / s.row);
        }
        for (u32 i = from + threadIdx.x; i < to; i += 256)
            step_one(p, group, i, changed(p.change, p.gradient[i]) - mean);
    }
}

KERNEL(optimizer_step, OptimizerStep, 256, step_stretch(p))
