// The prototype of a custom bounding box parser (see nvdsinfer.h).
#pragma once

#include <string>
#include <vector>

#include "nvdsinfer.h"

typedef struct {
  unsigned int numClassesConfigured;
  std::vector<float> perClassPreclusterThreshold;
  std::vector<float> perClassPostclusterThreshold;
  std::vector<float> &perClassThreshold = perClassPreclusterThreshold;
} NvDsInferParseDetectionParams;

typedef bool (*NvDsInferParseCustomFunc)(
    std::vector<NvDsInferLayerInfo> const &outputLayersInfo, NvDsInferNetworkInfo const &networkInfo,
    NvDsInferParseDetectionParams const &detectionParams, std::vector<NvDsInferObjectDetectionInfo> &objectList);

#define CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(customParseFunc)                                              \
  static void checkFunc_##customParseFunc(NvDsInferParseCustomFunc func = customParseFunc) {            \
    checkFunc_##customParseFunc();                                                                      \
  };                                                                                                    \
  extern "C" bool customParseFunc(                                                                      \
      std::vector<NvDsInferLayerInfo> const &outputLayersInfo, NvDsInferNetworkInfo const &networkInfo, \
      NvDsInferParseDetectionParams const &detectionParams, std::vector<NvDsInferObjectDetectionInfo> &objectList);
