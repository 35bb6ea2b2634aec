// The few kinds of failure the core reports. The bindings translate each once.
#pragma once

#include <stdexcept>
#include <string>
#include <system_error>

namespace hashmatch {

// A caller's mistake: ValueError in Python.
class InvalidArgument : public std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// An id that is not held: KeyError in Python.
class NotFound : public std::out_of_range {
  using std::out_of_range::out_of_range;
};

// A file that is not a segment, or is damaged: hashmatch.FormatError, a ValueError.
class FormatError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The system refused: OSError in Python, with errno and the path.
class IoError : public std::system_error {
 public:
  IoError(int error, const std::string& path)
      : std::system_error(error, std::generic_category(), path), path_(path) {}
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace hashmatch
