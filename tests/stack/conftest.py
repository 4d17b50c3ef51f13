import pytest

from cloud import Cloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory):
    """Deploys the platform with its countries once for all tests, because that takes longest."""
    cloud = Cloud(tmp_path_factory.mktemp("cloud"))
    try:
        cloud.deploy_platform()
        for country, version in [("pe", "3.0.0"), ("cl", "3.0.0"), ("co", "1.0.0")]:
            cloud.deploy_country(country)
            cloud.publish(f"countries/{country}")
            cloud.promote(country, version)
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture
def clock(cloud):
    """The functions' clock. What is due meanwhile is done when the test says so, and in the end the clock is put back."""
    with cloud.nothing_done_by_itself():
        try:
            yield cloud.clock
        finally:
            cloud.clock.put_back()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the last log lines of the server and the functions to a failure."""
    report = yield
    cloud = item.funcargs.get("cloud") if hasattr(item, "funcargs") else None
    if report.failed and cloud:
        report.sections.append(("the server's log", cloud.log.read_text()[-6000:]))
    return report
