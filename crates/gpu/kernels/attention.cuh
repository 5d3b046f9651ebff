// Swin's attention within shifted windows, without the fully connected layers around it.
//
// A block takes one head of one window of one image. A thread has one place of the window. Maps are padded with zeros
// before `qkv`, so that queries, keys and values of padding are the bias of `qkv`.
struct Attention {
    const void* qkv; // [rows, 3 * channels]
    void* mixed; // [rows, channels]
    const void* d; // the gradient of `mixed`
    void* d_qkv;
    const float* bias; // of qkv, or null
    const float* table; // [(2 * side - 1)^2, heads]
    float* d_table; // [images * windows, (2 * side - 1)^2 * heads]
    float* d_bias; // [images * windows, 3 * channels], of the padding alone
    int height, width, channels, heads, side, shift_rows, shift_columns, unused;
};

#define AREA 64 // at most
#define HEAD 32 // at most

struct WindowPlace {
    int row; // of the map, or -1 for padding
    int part; // places of different parts were not neighbours before the shift
};

DEV int part_of(int place, int padded, int side, int shift) {
    if (!shift) return 0;
    return place >= padded - shift ? 2 : place >= padded - side;
}

DEV WindowPlace window_place(const Attention& p, int window, int place, int image) {
    int padded_rows = (p.height + p.side - 1) / p.side * p.side;
    int padded_columns = (p.width + p.side - 1) / p.side * p.side;
    int columns = padded_columns / p.side;
    int y = window / columns * p.side + place / p.side;
    int x = window % columns * p.side + place % p.side;
    int part = part_of(y, padded_rows, p.side, p.shift_rows) * 3 + part_of(x, padded_columns, p.side, p.shift_columns);
    y = (y + p.shift_rows) % padded_rows;
    x = (x + p.shift_columns) % padded_columns;
    if (y >= p.height || x >= p.width) return {-1, part};
    return {(image * p.height + y) * p.width + x, part};
}

// One head's vector of a place: 0 queries, 1 keys, 2 values.
DEV void load_vector(const Attention& p, const WindowPlace& at, int which, int head, float* to) {
    int size = p.channels / p.heads, first = which * p.channels + head * size;
    for (int i = 0; i < size; i++) {
        float bias = p.bias ? p.bias[first + i] : 0.f;
        to[i] = at.row < 0 ? bias : load1(p.qkv, (size_t)at.row * 3 * p.channels + first + i);
    }
}

// The row of the table for two places.
DEV int relative(int side, int a, int b) {
    int rows = a / side + side - 1 - b / side, columns = a % side + side - 1 - b % side;
    return rows * (2 * side - 1) + columns;
}

// The weights of one place's query: the softmax of its scores.
DEV void weights_of(const Attention& p, int place, int head, int area, const float (*q)[HEAD], const float (*k)[HEAD],
                    const int* parts, float* w) {
    int size = p.channels / p.heads;
    float scale = 1.f / sqrtf((float)size), most = -3.4e38f;
    for (int j = 0; j < area; j++) {
        float score = 0.f;
        for (int i = 0; i < size; i++) score += q[place][i] * scale * k[j][i];
        score += p.table[relative(p.side, place, j) * p.heads + head];
        if (parts[place] != parts[j]) score -= 100.f;
        w[j] = score;
        most = score > most ? score : most;
    }
    float sum = 0.f;
    for (int j = 0; j < area; j++) {
        w[j] = expf(w[j] - most);
        sum += w[j];
    }
    for (int j = 0; j < area; j++) w[j] *= 1.f / sum;
}

KERNEL(attention, Attention, 64, {
    __shared__ float q[AREA][HEAD];
    __shared__ float k[AREA][HEAD];
    __shared__ float v[AREA][HEAD];
    __shared__ float w[AREA][AREA];
    __shared__ int parts[AREA];
    int area = p.side * p.side;
    int size = p.channels / p.heads;
    int place = threadIdx.x;
    int head = blockIdx.y;
    WindowPlace at = {-1, 0};
    if (place < area) {
        at = window_place(p, blockIdx.x, place, blockIdx.z);
        parts[place] = at.part;
        load_vector(p, at, 0, head, q[place]);
        load_vector(p, at, 1, head, k[place]);
        load_vector(p, at, 2, head, v[place]);
    }
    __syncthreads();
    if (at.row < 0) return;
    weights_of(p, place, head, area, q, k, parts, w[place]);
    for (int i = 0; i < size; i++) {
        float sum = 0.f;
        for (int j = 0; j < area; j++) sum += w[place][j] * v[j][i];
        store1(p.mixed, (size_t)at.row * p.channels + head * size + i, sum);
    }
})

KERNEL(attention_input, Attention, 64, {
    __shared__ float q[AREA][HEAD];
    __shared__ float k[AREA][HEAD];
    __shared__ float v[AREA][HEAD];
    __shared__ float w[AREA][AREA];
    __shared__ int parts[AREA];
    int area = p.side * p.side;
    int size = p.channels / p.heads;
    int place = threadIdx.x;
    int head = blockIdx.y;
    bool real = place < area;
    float scale = 1.f / sqrtf((float)size);
    size_t block = (size_t)blockIdx.z * gridDim.x + blockIdx.x;
    WindowPlace at = {-1, 0};
    float d[HEAD];
    if (real) {
        at = window_place(p, blockIdx.x, place, blockIdx.z);
        parts[place] = at.part;
        load_vector(p, at, 0, head, q[place]);
        load_vector(p, at, 1, head, k[place]);
        load_vector(p, at, 2, head, v[place]);
        for (int i = 0; i < size; i++)
            d[i] = at.row < 0 ? 0.f : load1(p.d, (size_t)at.row * p.channels + head * size + i);
    }
    __syncthreads();
    if (real) weights_of(p, place, head, area, q, k, parts, w[place]);
    __syncthreads();
    // The gradient of the scores needs the values, which the gradients of the results then replace.
    float slope[AREA];
    if (real) {
        float mean = 0.f;
        for (int j = 0; j < area; j++) {
            slope[j] = 0.f;
            for (int i = 0; i < size; i++) slope[j] += d[i] * v[j][i];
            mean += slope[j] * w[place][j];
        }
        for (int j = 0; j < area; j++) slope[j] = w[place][j] * (slope[j] - mean);
    }
    __syncthreads();
    if (real)
        for (int i = 0; i < size; i++) v[place][i] = d[i];
    __syncthreads();
    float out[HEAD];
    size_t row = (size_t)at.row * 3 * p.channels;
    if (real) {
        for (int i = 0; i < size; i++) {
            out[i] = 0.f;
            for (int j = 0; j < area; j++) out[i] += w[j][place] * v[j][i];
            if (at.row >= 0) store1(p.d_qkv, row + 2 * p.channels + head * size + i, out[i]);
        }
    }
    __syncthreads();
    if (real) {
        for (int i = 0; i < size; i++) v[place][i] = out[i]; // the gradients of the values, for the bias
        for (int j = 0; j < area; j++) w[place][j] = slope[j];
    }
    __syncthreads();
    // Of the padding, the queries are not used, but the keys and the values are.
    float padding = 0.f;
    if (place < size) {
        for (int j = 0; j < area; j++)
            if (window_place(p, blockIdx.x, j, blockIdx.z).row < 0) padding += v[j][place];
        p.d_bias[block * 3 * p.channels + 2 * p.channels + head * size + place] = padding;
    }
    float d_query[HEAD];
    if (real) {
        for (int i = 0; i < size; i++) {
            float query = 0.f;
            float key = 0.f;
            for (int j = 0; j < area; j++) {
                query += w[place][j] * k[j][i];
                key += w[j][place] * q[j][i];
            }
            d_query[i] = query * scale;
            out[i] = key * scale;
            if (at.row >= 0) {
                store1(p.d_qkv, row + head * size + i, d_query[i]);
                store1(p.d_qkv, row + p.channels + head * size + i, out[i]);
            }
        }
    }
    int rows = 2 * p.side - 1;
    for (int r = place; r < rows * rows; r += 64) {
        int down = r / rows - (p.side - 1);
        int across = r % rows - (p.side - 1);
        float sum = 0.f;
        for (int j = 0; j < area; j++) {
            int y = j / p.side + down;
            int x = j % p.side + across;
            if (y >= 0 && x >= 0 && y < p.side && x < p.side) sum += w[y * p.side + x][j];
        }
        p.d_table[block * rows * rows * p.heads + r * p.heads + head] = sum;
    }
    __syncthreads();
    if (real)
        for (int i = 0; i < size; i++) { k[place][i] = out[i]; q[place][i] = d_query[i]; }
    __syncthreads();
    if (place < size) {
        float keys = 0.f;
        float queries = 0.f;
        for (int j = 0; j < area; j++) {
            if (window_place(p, blockIdx.x, j, blockIdx.z).row >= 0) continue;
            keys += k[j][place];
            queries += q[j][place];
        }
        p.d_bias[block * 3 * p.channels + head * size + place] = queries;
        p.d_bias[block * 3 * p.channels + p.channels + head * size + place] = keys;
    }
})
