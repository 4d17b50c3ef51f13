import pytest

from cloud import Cloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory):
    """Deploys the platform with Peru and Chile once for all tests, because that takes longest."""
    cloud = Cloud(tmp_path_factory.mktemp("cloud"))
    try:
        cloud.deploy_platform()
        for country in ["pe", "cl"]:
            cloud.deploy_country(country)
            cloud.publish(f"countries/{country}")
            cloud.promote(country, "3.0.0")
        yield cloud
    finally:
        cloud.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the last log lines of the server and the functions to a failure."""
    report = yield
    cloud = item.funcargs.get("cloud") if hasattr(item, "funcargs") else None
    if report.failed and cloud:
        report.sections.append(("the server's log", cloud.log.read_text()[-6000:]))
    return report
