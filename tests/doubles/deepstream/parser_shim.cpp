// Calls a custom bounding box parser, whose arguments are C++ vectors, from plain C.
#include <algorithm>

#include "nvdsinfer_custom_impl.h"

// Returns the number of objects, -1 when the parser says that it failed, -2 when `capacity` is too small.
extern "C" int countline_double_parse(void *function, const NvDsInferLayerInfo *layers, int layer_count,
                                      const NvDsInferNetworkInfo *network, const float *thresholds, int classes,
                                      NvDsInferObjectDetectionInfo *found, int capacity) {
  auto parse = reinterpret_cast<NvDsInferParseCustomFunc>(function);
  std::vector<NvDsInferLayerInfo> output_layers(layers, layers + layer_count);
  NvDsInferParseDetectionParams params;
  params.numClassesConfigured = classes;
  params.perClassPreclusterThreshold.assign(thresholds, thresholds + classes);
  params.perClassPostclusterThreshold.assign(classes, 0.0f);
  std::vector<NvDsInferObjectDetectionInfo> objects;
  if (!parse(output_layers, *network, params, objects)) return -1;
  if (static_cast<int>(objects.size()) > capacity) return -2;
  std::copy(objects.begin(), objects.end(), found);
  return static_cast<int>(objects.size());
}
