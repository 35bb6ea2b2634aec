#include "index/segment.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <new>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/parallel.h"
#include "index/code.h"
#include "index/cost.h"
#include "index/plan.h"

namespace hashmatch {

using format::Kind;

namespace {

// Reads the mapped file in pieces on all cores.
Region copy_of(const Region& file) {
  constexpr size_t kPiece = size_t{16} << 20;
  Region copy = Region::anonymous(file.size());
  parallel_for((file.size() + kPiece - 1) / kPiece, 0, [&](size_t piece, unsigned) {
    const size_t at = piece * kPiece;
    std::memcpy(copy.bytes() + at, file.bytes() + at, std::min(kPiece, file.size() - at));
  });
  return copy;
}

Region checked_file(const std::string& path) {
  Region file = Region::file(path);
  if (file.size() < format::kHeaderBytes) {
    // Told apart from a damaged header, since an empty or foreign file is the likelier case.
    throw FormatError(path + ": " + std::to_string(file.size()) +
                      " bytes are too few for a hashmatch index; make one with `hashmatch build "
                      "LIST -o FILE.hm`");
  }
  format::Header header;
  std::memcpy(&header, file.bytes(), sizeof header);
  format::validate(header, file.size(), path);
  return file;
}

}  // namespace

std::shared_ptr<const Segment> Segment::open(const std::string& path, bool memory) {
  Region file = checked_file(path);
  std::shared_ptr<Segment> segment(new Segment(memory ? copy_of(file) : std::move(file), path));
  segment->verify_structure();
  if (memory) segment->verify_checksums({});
  return segment;
}

std::shared_ptr<const Segment> Segment::from_image(Region image) {
  return std::shared_ptr<Segment>(new Segment(std::move(image), "index in memory"));
}

void Segment::check(const std::function<void(uint64_t, uint64_t)>& progress) const {
  verify_checksums(progress);
  verify_numbers();
}

Segment::Segment(Region image, std::string name)
    : image_(std::move(image)),
      name_(std::move(name)),
      header_(reinterpret_cast<const format::Header*>(image_.bytes())),
      layout_(format::layout_of(*header_)),
      order_(layout_.order),
      order_back_(inverse(layout_.order)),
      words_(words_of(header_->bits)),
      far_bits_(layout_.has_far_sketches() ? kSketchBits : 0),
      bands_(header_->band_count) {
  map_sections();
  for (const format::Clump& clump : clumps()) {
    largest_radius_ = std::max(largest_radius_, clump.radius);
  }
}

Segment::~Segment() {
  for (auto& plan : plans_) delete plan.load();
}

void Segment::damaged(const std::string& what) const {
  throw FormatError(name_ + ": " + what +
                    "; run `hashmatch check`, and build it again from its list");
}

void Segment::map_sections() {
  // Where a band's postings have nothing beside their sketches, their addresses are of no bytes.
  for (BandArrays& band : bands_) band.postings = PackedView(image_.bytes(), 0);
  for (uint32_t i = 0; i < header_->section_count; ++i) {
    const format::Section& section = header_->sections[i];
    const std::byte* bytes = image_.bytes() + section.offset;
    switch (static_cast<Kind>(section.kind)) {
      case Kind::kCodes:
        codes_ = reinterpret_cast<const uint64_t*>(bytes);
        break;
      case Kind::kStarts:
        starts_ = PackedView(bytes, header_->entry_bytes);
        break;
      case Kind::kIds:
        ids_ = PackedView(bytes, header_->id_bytes);
        break;
      case Kind::kById:
        by_id_ = PackedView(bytes, header_->entry_bytes);
        break;
      case Kind::kCentres:
        centres_ = reinterpret_cast<const uint64_t*>(bytes);
        break;
      case Kind::kClumps:
        clumps_ = reinterpret_cast<const format::Clump*>(bytes);
        break;
      case Kind::kBuckets:
        bands_[section.band].buckets = reinterpret_cast<const uint32_t*>(bytes);
        break;
      case Kind::kSketches:
        bands_[section.band].sketches = reinterpret_cast<const uint16_t*>(bytes);
        break;
      case Kind::kPostings:
        bands_[section.band].postings =
            PackedView(bytes, format::posting_bytes(*header_, section.band));
        break;
    }
  }
}

// What a search relies on without looking again, and what tells a section in the wrong place: cheap
// enough for every open.
void Segment::verify_structure() const {
  for (uint32_t i = 0; i < header_->section_count; ++i) {
    const format::Section& section = header_->sections[i];
    format::Prologue prologue;
    std::memcpy(&prologue, image_.bytes() + section.offset - sizeof prologue, sizeof prologue);
    if (prologue.magic != format::kMagic || prologue.file_id != header_->file_id ||
        prologue.prologue_crc != format::prologue_crc(prologue) ||
        prologue.reserved != decltype(prologue.reserved){} ||
        std::memcmp(&prologue.section, &section, sizeof section) != 0) {
      damaged("the " + format::section_name(section.kind, section.band) +
              " section is not the one its header lists");
    }
  }
  verify_clumps();
  verify_bands();
}

void Segment::verify_clumps() const {
  uint64_t next = banded_rows();
  for (const format::Clump& clump : clumps()) {
    if (clump.first_row != next || clump.radius > bits()) damaged("the clumps are out of order");
    next += clump.rows;
  }
  if (next != rows()) damaged("the clumps do not hold the rows that the bands leave out");
}

void Segment::verify_bands() const {
  for (unsigned band = 0; band < layout_.band_count(); ++band) {
    const uint32_t* buckets = bands_[band].buckets;
    const size_t count = size_t{1} << layout_.bands[band].width;
    bool ascending = buckets[0] == 0 && buckets[count] == banded_rows();
    for (size_t bucket = 0; bucket < count; ++bucket) {
      ascending &= buckets[bucket] <= buckets[bucket + 1];
    }
    if (!ascending) {
      damaged("the buckets of band " + std::to_string(band) + " are out of order");
    }
  }
}

void Segment::verify_checksums(const std::function<void(uint64_t, uint64_t)>& progress) const {
  std::mutex mutex;
  uint64_t done = 0;
  parallel_for(header_->section_count, 0, [&](size_t i, unsigned) {
    const format::Section& section = header_->sections[i];
    const std::byte* bytes = image_.bytes() + section.offset;
    if (crc32c({bytes, section.size_bytes}) != section.crc) {
      damaged("the checksum of the " + format::section_name(section.kind, section.band) +
              " section is wrong");
    }
    const std::byte* end =
        i + 1 < header_->section_count
            ? image_.bytes() + header_->sections[i + 1].offset - sizeof(format::Prologue)
            : image_.bytes() + header_->file_bytes;
    if (std::any_of(bytes + section.size_bytes, end,
                    [](std::byte b) { return b != std::byte{0}; })) {
      damaged("the padding after the " + format::section_name(section.kind, section.band) +
              " section is not zero");
    }
    const std::scoped_lock lock(mutex);
    done += section.size_bytes;
    if (progress) progress(done, header_->file_bytes);
  });
}

void Segment::read_code(uint32_t row, uint64_t* out) const {
  if (order_.is_natural()) {
    std::copy_n(code(row), words_, out);
  } else {
    order_back_.apply(code(row), words_, out);
  }
}

uint32_t Segment::row_of(uint32_t entry) const {
  if (header_->distinct == header_->entries) return entry;
  uint32_t low = 0;
  uint32_t high = rows();
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    (starts_[middle] <= entry ? low : high) = middle;
  }
  return low;
}

uint32_t Segment::entry_by_id_rank(uint32_t rank) const {
  const uint64_t entry = by_id_[rank];
  if (entry >= entries()) damaged("an entry by id is out of range");
  return static_cast<uint32_t>(entry);
}

std::optional<uint32_t> Segment::find(uint64_t wanted) const {
  uint32_t low = 0;
  uint32_t high = entries();
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const uint32_t entry = entry_by_id_rank(middle);
    const uint64_t have = id(entry);
    if (have == wanted) return entry;
    if (have < wanted) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return std::nullopt;
}

QueryPlan make_query_plan(const Layout& layout, uint64_t rows, std::vector<int> radius) {
  QueryPlan plan;
  plan.scan = false;
  plan.chain.bands = layout.band_count();
  plan.posting_ns = cost::posting_ns(rows, layout);
  plan.near_ns = cost::candidate_ns(rows, layout, {1, 0});
  plan.far_ns = cost::candidate_ns(rows, layout, {0, 1});
  for (unsigned band = 0; band < layout.band_count(); ++band) {
    const Band& b = layout.bands[band];
    plan.chain.at[band] = b.at;
    plan.chain.width[band] = b.width;
    plan.chain.allowance[band] = static_cast<uint16_t>(radius[band] + 1);
    const uint64_t ball = cost::ball_size(b.width, radius[band]);
    plan.probes += ball;
    plan.expected_postings +=
        static_cast<double>(ball) * std::ldexp(static_cast<double>(rows), -b.width);
  }
  plan.radius = std::move(radius);
  return plan;
}

const QueryPlan& Segment::plan(uint32_t max_distance) const {
  auto& slot = plans_[max_distance];
  if (const QueryPlan* ready = slot.load(std::memory_order_acquire)) return *ready;
  auto made = std::make_unique<QueryPlan>();
  if (auto uniform = plan_radii(layout_, banded_rows(), max_distance)) {
    *made = make_query_plan(layout_, banded_rows(), std::move(uniform->radius));
    for (unsigned band = 0; band < layout_.band_count(); ++band) {
      made->pass_chance.push_back(
          layout_.sketch_bits == 0 ? PassChance{} : pass_chance(layout_, band, made->radius));
    }
  }
  const QueryPlan* expected = nullptr;
  if (slot.compare_exchange_strong(expected, made.get(), std::memory_order_acq_rel)) {
    return *made.release();
  }
  return *expected;
}

}  // namespace hashmatch
