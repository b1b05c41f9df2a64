/** Instructions for a system without cameras, and for a camera without lines. */

export function NoCameras({ withoutSite }: { withoutSite: boolean }) {
  return (
    <section class="empty">
      <h2>No cameras yet</h2>
      <p>
        The demo cameras of <code>countline up</code> appear here when their clips are rendered. To add your own camera,
        run:
      </p>
      <pre>
        <code>
          {withoutSite && "countline sites add home --time-zone Europe/Berlin\n"}
          {"countline cameras add gate rtsp://user:password@camera/stream \\\n    --line door:0.1,0.6,0.9,0.6"}
        </code>
      </pre>
      <p>
        A line goes from a first point to a second. Coordinates are 0 to 1, from the top left corner of the picture. For
        a viewer at the first point who looks to the second, <em>in</em> is to the right.
      </p>
    </section>
  );
}

export function NoLines({ cameraId }: { cameraId: string }) {
  return (
    <div class="empty small">
      <p>This camera has no count line. Add one:</p>
      <pre>
        <code>{`countline cameras set ${cameraId} --line door:0.1,0.6,0.9,0.6`}</code>
      </pre>
    </div>
  );
}
