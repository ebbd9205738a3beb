"""Trained pipelines that Cubert publishes and no manifest names, as the published index of weights has them."""

from typing import Final

from cuvis_ai_core.data.downloads.weight_entries import AuxFile, WeightEntry

TRAINED_PIPELINES: Final = (
    WeightEntry(
        name="dinomaly_bedding_all6",
        display_name="Dinomaly, bedding (all six classes)",
        summary="Trained anomaly detector for the bedding dataset",
        used_for=("Anomaly detection", "Trained pipeline"),
        kind="trained_pipeline",
        repo_id="cubert-gmbh/dinomaly-bedding-all6",
        filename="dinomaly_bedding_all6.pt",
        revision="271c06017bbe3fb7f629c30c5ca197ac01466b6f",
        sha256="f023ceeb629a95138826323fa58ee360a277a1790db3169a31183d3e30145e4f",
        size_bytes=593813967,
        aux_files=(
            AuxFile(
                "dinomaly_bedding_all6.yaml", 3392, "90e45074be10d0f1638a195c803e7b3658fa448c2d6a071ad4fb9148ceb35ab3"
            ),
        ),
        license="unspecified",
        description=(
            "Dinomaly pipeline trained on the X4 SWIR bedding foreign-object dataset; the .pt plus its "
            "pipeline yaml, loaded through the pipeline picker's trained-weights path "
            "(cubert-gmbh/dinomaly-bedding-all6)."
        ),
    ),
    WeightEntry(
        name="dinomaly_lentils_cir",
        display_name="Dinomaly, lentils demo (CIR input)",
        summary="Trained anomaly detector for the lentils demo, CIR input",
        used_for=("Anomaly detection", "Trained pipeline"),
        kind="trained_pipeline",
        repo_id="cubert-gmbh/XMR_Demo_Industrial_Foreign_Object_Detection_Lentils",
        filename="dinomaly_cir_full_pipeline/dinomaly_cir.pt",
        revision="3602a04ea2a8a19494c4d1bc25bf804e942e9277",
        sha256="b30719616452b12b95fabfeb41b5c8c81b29e651ef8b482699b176c568360b93",
        size_bytes=592002738,
        aux_files=(
            AuxFile(
                "dinomaly_cir_full_pipeline/dinomaly_cir.yaml",
                2748,
                "81cf48ff6d33b31e1df6d27f1755328e829fec872e8731279a7dbec7ab41c306",
            ),
        ),
        license="Apache-2.0",
        description=(
            "Dinomaly pipeline trained on the lentils foreign-object demo with a CIR channel selector in "
            "front of the encoder (cubert-gmbh/XMR_Demo_Industrial_Foreign_Object_Detection_Lentils, "
            "dinomaly_cir_full_pipeline)."
        ),
    ),
    WeightEntry(
        name="dinomaly_lentils_custom",
        display_name="Dinomaly, lentils demo (custom channel selector)",
        summary="Trained anomaly detector for the lentils demo, custom bands",
        used_for=("Anomaly detection", "Trained pipeline"),
        kind="trained_pipeline",
        repo_id="cubert-gmbh/XMR_Demo_Industrial_Foreign_Object_Detection_Lentils",
        filename="dinomaly_custom_selector_full_pipeline/dinomaly_custom.pt",
        revision="3602a04ea2a8a19494c4d1bc25bf804e942e9277",
        sha256="4d181301f4adae09ffd781f6325a41933c98ef2b8b0e77c79346f0db222396e1",
        size_bytes=592003673,
        aux_files=(
            AuxFile(
                "dinomaly_custom_selector_full_pipeline/dinomaly_custom.yaml",
                2865,
                "b4bfccc2641e6e3f3336db57d6db5d47105f7173bc8e3bb5e8ff0a1f985301b9",
            ),
        ),
        license="Apache-2.0",
        description=(
            "Dinomaly pipeline trained on the lentils foreign-object demo with a custom channel selector "
            "(cubert-gmbh/XMR_Demo_Industrial_Foreign_Object_Detection_Lentils, "
            "dinomaly_custom_selector_full_pipeline)."
        ),
    ),
    WeightEntry(
        name="dinomaly_lentils_rgb",
        display_name="Dinomaly, lentils demo (RGB input)",
        summary="Trained anomaly detector for the lentils demo, RGB input",
        used_for=("Anomaly detection", "Trained pipeline"),
        kind="trained_pipeline",
        repo_id="cubert-gmbh/XMR_Demo_Industrial_Foreign_Object_Detection_Lentils",
        filename="dinomaly_rgb_full_pipeline/dinomaly_rgb.pt",
        revision="3602a04ea2a8a19494c4d1bc25bf804e942e9277",
        sha256="b49e21cc66f8dbade7150fa0c5daba5475b2789b8777c13bd4637e466757df47",
        size_bytes=592002738,
        aux_files=(
            AuxFile(
                "dinomaly_rgb_full_pipeline/dinomaly_rgb.yaml",
                2765,
                "81165f3cef2f83640918b82f629c80a33225b35bb762cb175de758f48680a2d7",
            ),
        ),
        license="Apache-2.0",
        description=(
            "Dinomaly pipeline trained on the lentils foreign-object demo with a false-RGB front end "
            "(cubert-gmbh/XMR_Demo_Industrial_Foreign_Object_Detection_Lentils, dinomaly_rgb_full_pipeline)."
        ),
    ),
)
