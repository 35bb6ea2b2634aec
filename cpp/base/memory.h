// Memory that comes straight from the system: large zeroed arrays on huge pages, and mapped files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace hashmatch {

// Owns one mapping. Movable; the address never changes while it lives.
class Region {
 public:
  Region() = default;
  ~Region();
  Region(Region&& other) noexcept;
  Region& operator=(Region&& other) noexcept;

  // Zeroed and writable; huge pages where the system grants them. Throws std::bad_alloc.
  static Region anonymous(size_t size_bytes);

  // The whole file, read-only. Throws IoError. The file must not shrink while it is mapped.
  static Region file(const std::string& path);

  std::byte* bytes() { return bytes_; }
  const std::byte* bytes() const { return bytes_; }
  size_t size() const { return size_; }

 private:
  Region(std::byte* bytes, size_t size, size_t mapped)
      : bytes_(bytes), size_(size), mapped_(mapped) {}

  std::byte* bytes_ = nullptr;
  size_t size_ = 0;
  size_t mapped_ = 0;
};

// A fixed-length array on a Region, padded for kernels that read past its end.
template <class T>
class HugeArray {
 public:
  HugeArray() = default;
  explicit HugeArray(size_t count)
      : region_(Region::anonymous(count * sizeof(T) + 64)), count_(count) {}

  T* data() { return reinterpret_cast<T*>(region_.bytes()); }
  const T* data() const { return reinterpret_cast<const T*>(region_.bytes()); }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }
  size_t size() const { return count_; }
  std::span<const T> span() const { return {data(), count_}; }

 private:
  Region region_;
  size_t count_ = 0;
};

}  // namespace hashmatch
