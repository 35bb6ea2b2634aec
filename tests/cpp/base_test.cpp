// Checksums, packed numbers, memory, files and threads.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/packed.h"
#include "base/parallel.h"
#include "scratch_folder.h"

using namespace hashmatch;
using hashmatch::test::ScratchFolder;

namespace {

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::string contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

size_t files_in(const std::string& folder) {
  const std::filesystem::directory_iterator files(folder);
  return static_cast<size_t>(std::distance(begin(files), end(files)));
}

}  // namespace

TEST_SUITE_BEGIN("base");

TEST_CASE("CRC-32C of the vectors of RFC 3720") {
  std::vector<std::byte> bytes(32);
  CHECK(crc32c(bytes) == 0x8A9136AA);
  std::ranges::fill(bytes, std::byte{0xFF});
  CHECK(crc32c(bytes) == 0x62A8AB43);
  for (size_t i = 0; i < 32; ++i) bytes[i] = static_cast<std::byte>(i);
  CHECK(crc32c(bytes) == 0x46DD794E);
  for (size_t i = 0; i < 32; ++i) bytes[i] = static_cast<std::byte>(31 - i);
  CHECK(crc32c(bytes) == 0x113FDB5C);
  CHECK(crc32c(bytes_of("123456789")) == 0xE3069283);
  CHECK(crc32c({}) == 0);
}

TEST_CASE("CRC-32C goes on where it left off") {
  const auto bytes = bytes_of("a text that is longer than eight bytes, and of an odd length");
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const std::span all(bytes);
    CHECK(crc32c(all.subspan(cut), crc32c(all.first(cut))) == crc32c(bytes));
  }
}

TEST_CASE("packed numbers of every width") {
  CHECK(packed_width(0) == 1);
  CHECK(packed_width(255) == 1);
  CHECK(packed_width(256) == 2);
  CHECK(packed_width(UINT64_MAX) == 8);
  for (unsigned width = 1; width <= 8; ++width) {
    const uint64_t largest = width == 8 ? UINT64_MAX : (uint64_t{1} << 8 * width) - 1;
    CHECK(packed_width(largest) == width);
    std::vector<std::byte> bytes(20 * width + 8, std::byte{0xEE});
    // Neighbours written first must survive.
    for (const size_t parity : {0U, 1U}) {
      for (size_t i = parity; i < 20; i += 2) {
        packed_store(bytes.data(), width, i, largest - i * 3 % 7);
      }
    }
    const PackedView view(bytes.data(), width);
    for (size_t i = 0; i < 20; ++i) CHECK(view[i] == largest - i * 3 % 7);
    CHECK(bytes[20 * width] == std::byte{0xEE});
  }
}

TEST_CASE("memory is zeroed and padded") {
  for (const size_t count : {0U, 1U, 4096U, 3'000'000U}) {
    const HugeArray<uint32_t> array(count);
    CHECK(array.size() == count);
    CHECK(std::ranges::all_of(array.span(), [](uint32_t x) { return x == 0; }));
    CHECK(array.data()[count + 15] == 0);
  }
  CHECK_THROWS_AS(Region::anonymous(SIZE_MAX), std::bad_alloc);
  CHECK_THROWS_AS(Region::anonymous(SIZE_MAX / 4), std::bad_alloc);
  Region region = Region::anonymous(10);
  const std::byte* at = region.bytes();
  const Region moved = std::move(region);
  CHECK(moved.bytes() == at);
  CHECK(moved.size() == 10);
}

TEST_CASE("what cannot be mapped") {
  const ScratchFolder folder;
  CHECK_THROWS_AS(Region::file(folder / "missing"), IoError);
  CHECK_THROWS_AS(Region::file(folder.path()), IoError);
  REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK_THROWS_AS(Region::file(folder / "pipe"), IoError);  // and does not wait for a writer
  try {
    Region::file(folder / "missing");
  } catch (const IoError& error) {
    CHECK(error.path() == folder / "missing");
    CHECK(error.code().value() == ENOENT);
  }
}

TEST_CASE("a file is published whole") {
  const ScratchFolder folder;
  const std::string path = folder / "file";
  publish_file(path, bytes_of("first"));
  CHECK(contents(path) == "first");
  publish_file(path, bytes_of("second"));
  CHECK(contents(path) == "second");
  publish_file(path, {});
  CHECK(contents(path) == "");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("a failed publish leaves everything as it was") {
  const ScratchFolder folder;
  CHECK_THROWS_AS(publish_file(folder / "missing" + "/file", bytes_of("x")), IoError);
  std::filesystem::create_directory(folder / "taken");
  CHECK_THROWS_AS(publish_file(folder / "taken", bytes_of("x")), IoError);
  CHECK(files_in(folder.path()) == 1);
  CHECK_THROWS_AS(publish_file("/proc/hashmatch", bytes_of("x")), IoError);
  const std::string path = folder / "file";
  publish_file(path, bytes_of("old"));
  if (getuid() != 0) {  // root may write anywhere
    chmod(folder.path().c_str(), 0500);
    CHECK_THROWS_AS(publish_file(path, bytes_of("new")), IoError);
    chmod(folder.path().c_str(), 0700);
  }
  // A disk that is full.
  CHECK_THROWS_AS(publish_file("/dev/full/x", bytes_of("x")), IoError);
  CHECK(contents(path) == "old");
  CHECK(files_in(folder.path()) == 2);
  try {
    publish_file(folder / "missing" + "/file", bytes_of("x"));
  } catch (const IoError& error) {
    CHECK(error.path() == folder / "missing" + "/file");
  }
}

TEST_CASE("publishing one path on two threads publishes one or the other") {
  const ScratchFolder folder;
  const std::string path = folder / "file";
  const auto writer = [&](char letter, size_t size) {
    const auto bytes = bytes_of(std::string(size, letter));
    for (int round = 0; round < 60; ++round) publish_file(path, bytes);
  };
  {
    const std::jthread a(writer, 'a', 700'000), b(writer, 'b', 400'000);
    for (int round = 0; round < 200; ++round) {
      const std::string found = contents(path);
      if (found.empty()) continue;  // not there yet
      const bool whole = found == std::string(700'000, 'a') || found == std::string(400'000, 'b');
      CHECK(whole);
    }
  }
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("parallel_for runs every task once") {
  for (const unsigned threads : {0U, 1U, 2U, 7U}) {
    for (const size_t count : {0U, 1U, 2U, 1000U}) {
      std::vector<std::atomic<int>> runs(count);
      std::atomic<unsigned> largest{0};
      parallel_for(count, threads, [&](size_t index, unsigned worker) {
        ++runs[index];
        for (unsigned seen = largest;
             worker > seen && !largest.compare_exchange_weak(seen, worker);)
          ;
      });
      CHECK(std::ranges::all_of(runs, [](const auto& n) { return n == 1; }));
      CHECK(largest < resolve_threads(threads));
    }
  }
  CHECK(resolve_threads(0) == available_threads());
  CHECK(resolve_threads(3) == 3);
}

TEST_CASE("parallel_for hands an exception to its caller and stops") {
  for (const unsigned threads : {1U, 2U, 7U}) {
    std::atomic<size_t> ran{0};
    CHECK_THROWS_WITH(parallel_for(100'000, threads,
                                   [&](size_t index, unsigned) {
                                     ++ran;
                                     if (index == 10) throw std::runtime_error("task 10");
                                     std::this_thread::yield();
                                   }),
                      "task 10");
    CHECK(ran < 100'000);
  }
}

TEST_SUITE_END();
