"""Where the sample's larger files lie; the names follow Data for Canada's."""

_PACKAGE = "processed/ca_statcan-2021A000011124_d4c-datapkg"
_ARCHIVE = "archive/statistics_canada"
ORTHOIMAGERY = f"{_PACKAGE}-orthoimagery_2021_10m_v0.1.0-beta.pmtiles"
ADDRESSES = f"{_PACKAGE}-address_register_2021-11_v0.1.0-beta.parquet"
PROFILE = f"{_ARCHIVE}/census_of_population/2021/98-401-X2021006_eng_CSV.zip"
BOUNDARIES = f"{_ARCHIVE}/boundaries/2021/lda_000b21a_e.zip"
