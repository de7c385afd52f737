/*
 * hls_stream.h - hls::stream for C simulation without Vitis. Own code, of the same interface as far as spc's output uses it.
 *
 * In C simulation a stream is an unbounded queue: its depth matters to hardware only. Unlike the vendor's, this one treats a read
 * from an empty stream and elements left behind as errors, since in a data-flow design either means that a layer reads or writes
 * the wrong number of elements.
 */
#ifndef SPC_SHIM_HLS_STREAM_H
#define SPC_SHIM_HLS_STREAM_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <deque>

namespace hls {

template <class T, int DEPTH = 0>
class stream {
 public:
  explicit stream(const char *name = "stream") : name_(name) {}
  stream(const stream &) = delete;
  stream &operator=(const stream &) = delete;
  ~stream() {
    if (!queue_.empty()) fail("is destroyed with elements left in it");
  }

  void write(const T &value) { queue_.push_back(value); }
  T read() {
    if (queue_.empty()) fail("is read while empty");
    const T value = queue_.front();
    queue_.pop_front();
    return value;
  }
  void read(T &value) { value = read(); }
  bool empty() const { return queue_.empty(); }
  bool full() const { return false; }
  size_t size() const { return queue_.size(); }

 private:
  [[noreturn]] void fail(const char *what) const {
    fprintf(stderr, "hls::stream '%s' %s (%zu elements)\n", name_, what, queue_.size());
    abort();
  }
  const char *name_;
  std::deque<T> queue_;
};

} /* namespace hls */

#endif
