import pytest

from cloud import Cloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory):
    """The platform with Peru and Chile, for all tests: it takes longest to come up."""
    cloud = Cloud(tmp_path_factory.mktemp("cloud"))
    try:
        cloud.deploy_platform()
        for country in ["pe", "cl"]:
            cloud.deploy_country(country)
            cloud.publish(f"countries/{country}")
            cloud.promote(country, "1.0.0")
        yield cloud
    finally:
        cloud.stop()
